"""Prove that plain VXLAN gets through: the sockets around `vxlan_proof`.

Probes leave by an ordinary UDP socket, like packets of the VXLAN device: from any port, to the port of VXLAN. What is
too large leaves over IPv4 in pieces and over IPv6 not at all. They come in as frames for our bridge.
"""

import secrets
import socket
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from math import inf

import trio

from weave.errors import EnvironmentFailure
from weave.names import PeerName
from weave.net.crypt.probe_sockets import IP_MTU_DISCOVER, IPV6_MTU_DISCOVER
from weave.net.model import DatapathConfig
from weave.net.namespace import run_there
from weave.net.vxlan_probe import ETHERTYPE
from weave.net.vxlan_proof import Emit, VxlanProof, VxlanWay

PMTUDISC_DONT, PMTUDISC_DO = 0, 2
"""Datagrams are cut where need be, and leave without the flag that forbids it; or are refused where they do not fit."""
MAX_FRAME = 65535
BURST = 64
"""Frames read at one go, before others get a turn."""


class VxlanProver:
    """Own the sockets of one network namespace and the proof that they serve."""

    def __init__(self, config: DatapathConfig, proof: VxlanProof, inbox: socket.socket,
                 outlets: Mapping[int, socket.socket]) -> None:
        self.on_changed: Callable[[], None] = lambda: None
        """Called when other peers are reached by VXLAN than before."""
        self._config = config
        self._proof = proof
        self._inbox = inbox
        self._outlets = outlets
        self._told: frozenset[PeerName] = frozenset()
        """Who was not reached when that was last told."""
        self._kick = trio.Event()
        self._sleeps_until = inf

    @classmethod
    @asynccontextmanager
    async def open(cls, config: DatapathConfig, *, netns: int | None = None) -> AsyncIterator["VxlanProver"]:
        """Open the sockets in this, or that, network namespace."""
        proof = VxlanProof(config.peer, config.vni, secrets.token_bytes)
        with ExitStack() as stack:
            try:
                inbox = stack.enter_context(run_there(netns, _inbox))
                outlets = {4: stack.enter_context(run_there(netns, lambda: _outlet(socket.AF_INET)))}
            except OSError as exc:
                raise EnvironmentFailure(f"cannot open the sockets that probe VXLAN: {exc.strerror}") from exc
            with suppress(OSError):  # a host without IPv6 reaches nobody by it
                outlets[6] = stack.enter_context(run_there(netns, lambda: _outlet(socket.AF_INET6)))
            yield cls(config, proof, inbox, outlets)

    def doubt(self, peers: Collection[PeerName]) -> None:
        """Believe that these are not reached by VXLAN until it is proven; to be said before they are wanted."""
        self._proof.doubt(peers)

    def want(self, ways: Mapping[PeerName, VxlanWay], mtu: int) -> None:
        """Prove these ways, for packets of that size; to be said once the host's firewall lets them."""
        self._proof.mtu = mtu
        self._apply(self._proof.want(ways, trio.current_time()))

    def broken(self) -> Mapping[PeerName, str]:
        """Return the peers to which VXLAN does not get through, and why."""
        return self._proof.broken

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Probe until cancelled."""
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._receive)
            while True:
                self._kick = trio.Event()
                self._sleeps_until = self._proof.deadline()
                with trio.move_on_at(self._sleeps_until):
                    await self._kick.wait()
                self._apply(self._proof.tick(trio.current_time()))

    async def _receive(self) -> None:
        while True:
            await trio.lowlevel.wait_readable(self._inbox)
            for _ in range(BURST):
                try:
                    frame, source = self._inbox.recvfrom(MAX_FRAME)
                except BlockingIOError:
                    break
                except OSError:
                    continue  # of a device that went down
                if source[0] == self._config.bridge and source[2] == socket.PACKET_HOST:
                    self._apply(self._proof.frame(frame, trio.current_time()))

    def _apply(self, emits: Sequence[Emit]) -> None:
        self._send(emits)
        if self._proof.broken.keys() != self._told:
            self._told = frozenset(self._proof.broken)
            self.on_changed()

    def _send(self, emits: Sequence[Emit]) -> None:
        for emit in emits:
            try:
                self._outlets[emit.address.version].sendto(emit.datagram, (str(emit.address), self._config.port))
            except KeyError:
                self._proof.unsent(emit, f"this host has no IPv{emit.address.version}")
            except OSError as exc:
                self._proof.unsent(emit, f"VXLAN cannot be sent to {emit.address}: {exc.strerror}")
        if self._proof.deadline() < self._sleeps_until:  # a later one is seen on waking
            self._kick.set()


def _inbox() -> socket.socket:
    """Return a socket that hears probes on every device; who reads looks which one it was."""
    return socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(ETHERTYPE))


def _outlet(family: int) -> socket.socket:
    outlet = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    if family == socket.AF_INET:
        outlet.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_DONT)
    else:
        outlet.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_DO)
    return outlet
