"""The encrypted links of a host: the core of `weave.net.crypt.core` with kernel, sockets and clock around it.

Effects are carried out at once and in order. The gate is the exception, for `nft` is a program and takes its time; it
may come late because what it does not know yet it does not let through. Closing leaves everything in the kernel, which
carries packets while the router is away.
"""

import logging
import random
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import count

import trio

from weave.addresses import IPAddress
from weave.errors import EnvironmentFailure
from weave.logs import fields
from weave.names import PeerName
from weave.net.crypt import gatekeeper, limits
from weave.net.crypt.candidates import Claim, Mode, claim_of
from weave.net.crypt.capability import KernelAbility
from weave.net.crypt.core import CryptCore, Found
from weave.net.crypt.effects import Drop, Effect, Emit, Install, LinksChanged, SecureLink, Settle, Tell, TunnelQuality
from weave.net.crypt.gatekeeper import GateKeeper
from weave.net.crypt.keys import pact_key, wireguard_keys
from weave.net.crypt.pact import Party
from weave.net.crypt.pact_messages import Way
from weave.net.crypt.peer import Counterpart, Host
from weave.net.crypt.probe_sockets import ProbeSockets, source_for
from weave.net.ipsec.kernel import Ipsec, listen, open_monitor
from weave.net.ipsec.plan import Place, want_policies
from weave.net.model import DatapathConfig
from weave.net.namespace import run_there
from weave.net.wireguard.device import WireGuard
from weave.netlink.connection import Netlink, NetlinkFailure
from weave.netlink.xfrm import REQID, Acquire, Expired
from weave.noise.keys import KeyPair

log = logging.getLogger("weave.net")


@dataclass(frozen=True, slots=True)
class CryptConfig:
    """What the encrypted links of a host start from."""

    datapath: DatapathConfig
    static: KeyPair
    incarnation: int
    password_keys: tuple[bytes, ...] = field(repr=False)
    segment_mtu: int
    underlay_mtu: int
    ability: KernelAbility

    @property
    def wireguard_port(self) -> int:
        """Return the UDP port of WireGuard."""
        return self.datapath.port + limits.WIREGUARD_PORT_OFFSET

    @property
    def probe_port(self) -> int:
        """Return the UDP port of probes."""
        return self.datapath.port + limits.PROBE_PORT_OFFSET

    @property
    def claim(self) -> Claim:
        """Return what this host says that it can."""
        return claim_of(self.ability, wireguard_keys(self.static.private).public, self.wireguard_port, self.probe_port)


class SecureLinks:
    """Own everything in the kernel of one host by which links are encrypted."""

    def __init__(self, config: CryptConfig, netlink: Netlink, namespace: int | None,
                 sockets: ProbeSockets) -> None:
        self.on_send: Callable[[PeerName, bytes], None] = lambda _peer, _payload: None
        self.on_changed: Callable[[], None] = lambda: None
        self._config = config
        self._namespace = namespace
        self._sockets = sockets
        self.gate = GateKeeper(config.datapath.port, config.probe_port, namespace)
        tunnel_mtu = config.underlay_mtu - limits.WIREGUARD_OVERHEAD
        self._wireguard = None if config.ability.wireguard else WireGuard(config.datapath, tunnel_mtu, netlink,
                                                                          namespace)
        has_esp = not (config.ability.esp4 and config.ability.esp6)
        self._ipsec = Ipsec(namespace) if has_esp else None
        self._found_inner: dict[bytes, IPAddress] = {}
        """Inner addresses of the peers that an earlier life left in WireGuard."""
        party = Party(config.datapath.peer, config.static, config.incarnation,
                      tuple(map(pact_key, config.password_keys)))
        self._core = CryptCore(
            Host(party, config.ability, config.claim, config.segment_mtu, tunnel_mtu),
            wireguard_keys(config.static.private), self._found(), rng=random.SystemRandom(),
            entropy=secrets.token_bytes, now=trio.current_time())
        self._trusted: frozenset[IPAddress] = frozenset()
        self._kick = trio.Event()
        self._wireguard_stale = trio.Event()

    @classmethod
    @asynccontextmanager
    async def open(cls, config: CryptConfig, *, netns: int | None = None) -> AsyncIterator["SecureLinks"]:
        """Take over what an earlier router left in the kernel of this, or that, network namespace."""
        async with AsyncExitStack() as stack:
            netlink = stack.enter_context(run_there(netns, Netlink))
            sockets = run_there(netns, lambda: ProbeSockets(config.probe_port, wanted=config.ability.overhead > 0))
            stack.enter_context(closing(sockets))
            links = cls(config, netlink, netns, sockets)
            for owned in (links._wireguard, links._ipsec):
                if owned is not None:
                    stack.enter_context(closing(owned))
            yield links

    @property
    def claim(self) -> Claim:
        """Return what this host says that it can; to be gossiped."""
        return self._config.claim

    def links(self) -> Mapping[PeerName, SecureLink]:
        """Return how the encrypted tunnels to each peer stand."""
        return self._core.links()

    def qualities(self) -> dict[PeerName, TunnelQuality]:
        """Return how good the tunnels in use are, as of now; for people, as it asks the kernel."""
        traffic: dict[bytes | Place, tuple[int, int]] = {}
        with suppress(EnvironmentFailure):
            device = None if self._wireguard is None else self._wireguard.look()
            traffic |= {} if device is None else {peer.public_key: (peer.sent, peer.received) for peer in device.peers}
        with suppress(EnvironmentFailure):
            own = {way.own for way in self._core.steered()}
            traffic |= {
                (state.destination, state.spi):
                    (0, state.octets) if state.destination in own else (state.octets, 0)
                for state in ([] if self._ipsec is None else self._ipsec.associations()) if state.reqid == REQID}
        return self._core.measured(traffic)

    def inherited(self) -> frozenset[IPAddress]:
        """Return where VXLAN may go though nobody has proven it in this life: tunnels of an earlier one."""
        kept = self._core.wireguard_wish().kept
        return frozenset(self._found_inner[key] for key in kept) | self._core.protected()

    def way_to(self, address: IPAddress) -> Way | None:
        """Return the two addresses between which packets to a host travel; None where no route leads there."""
        source = run_there(self._namespace, lambda: source_for(address))
        return None if source is None else Way(source, address)

    def accepted(self) -> frozenset[IPAddress]:
        """Return the addresses from which VXLAN may come by tunnels that stand, whether or not we send by them yet."""
        return frozenset(peer.inner for peer in self._core.wireguard_wish().peers) | self._core.protected()

    def want(self, counterparts: Iterable[Counterpart]) -> None:
        """Have encrypted tunnels to these peers, and to no others."""
        self._apply(self._core.want(counterparts, trio.current_time()))

    async def settle(self, trusted: Iterable[IPAddress]) -> None:
        """Let plain VXLAN out to these addresses, and to nobody else; return when it is so."""
        self._trusted = frozenset(trusted)
        self._apply(self._core.trust(self._trusted, trio.current_time()))
        await self.gate.settle(self._trusted, self._core.protected())

    def resize(self, segment_mtu: int) -> None:
        """Prove from now on that tunnels carry packets of this size."""
        self._core.resize(segment_mtu)

    def message(self, peer: PeerName, payload: bytes) -> None:
        """Take in a message about keys, which came over the mesh."""
        self._apply(self._core.message(peer, payload, trio.current_time()))

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Probe, rekey and look after the kernel until cancelled."""
        async with trio.open_nursery() as nursery:
            for version in self._sockets.versions:
                nursery.start_soon(self._receive, version)
            nursery.start_soon(self._keep_time)
            nursery.start_soon(self._keep_wireguard)
            nursery.start_soon(self._tend)
            if self._ipsec is not None:
                monitor = run_there(self._namespace, open_monitor)
                nursery.start_soon(self._hear_kernel, monitor)
            await nursery.start(self.gate.run)
            task_status.started()

    # -- events -----------------------------------------------------------------------------------------------------

    async def _receive(self, version: int) -> None:
        while True:
            for data, source in await self._sockets.receive(version):
                self._apply(self._core.probe(data, source, trio.current_time()))

    async def _keep_time(self) -> None:
        while True:
            self._kick = trio.Event()
            with trio.move_on_at(self._core.deadline()):
                await self._kick.wait()
            self._apply(self._core.tick(trio.current_time()))

    async def _hear_kernel(self, monitor: socket.socket) -> None:
        with closing(monitor):
            await listen(monitor, self._heard)

    def _heard(self, event: Expired | Acquire) -> None:
        now = trio.current_time()
        match event:
            case Expired(_, destination, spi, _):
                self._apply(self._core.worn([(destination, spi)], now))
            case Acquire(_, destination):
                self._apply(self._core.lacking(destination, now))

    async def _tend(self) -> None:
        """Look at the kernel now and then, and put back what somebody else removed."""
        for round_ in count(1):
            await trio.sleep(limits.TEND_INTERVAL_S)
            if round_ % limits.GATE_ROUNDS == 0:
                self.gate.doubt()
            self._settle()
            if self._ipsec is not None:
                try:
                    missing = self._ipsec.sweep(self._core.places(), self._core.kept_ways())
                except EnvironmentFailure as exc:
                    log.warning("cannot look after IPsec; trying again", extra=fields(reason=exc))
                    continue
                if missing:
                    log.warning("IPsec associations are gone; agreeing on new ones", extra=fields(count=len(missing)))
                    self._apply(self._core.worn(missing, trio.current_time()))

    # -- effects ----------------------------------------------------------------------------------------------------

    def _apply(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            self._perform(effect)
        self._kick.set()

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Tell(peer, payload):
                self.on_send(peer, payload)
            case Install(peer, association):
                assert self._ipsec is not None, "there are associations only where there is ESP"
                try:
                    self._ipsec.install(association)
                except EnvironmentFailure as exc:
                    self._refuse([peer], Mode.IPSEC, exc)
            case Drop(association):
                assert self._ipsec is not None, "there are associations only where there is ESP"
                try:
                    self._ipsec.drop((association.destination, association.spi))
                except EnvironmentFailure as exc:
                    log.warning("cannot remove an IPsec association; trying again", extra=fields(reason=exc))
            case Settle():
                self._settle()
            case Emit():
                self._emit(effect)
            case LinksChanged():
                self.on_changed()

    def _settle(self) -> None:
        """Make policies as the core has them, and soon WireGuard, to which no message about keys has to wait."""
        self.gate.want(self._trusted, self._core.protected())
        self._wireguard_stale.set()
        if self._ipsec is not None:
            policies = want_policies(self._core.steered(), (self._config.datapath.port, self._config.probe_port))
            try:
                self._ipsec.settle(policies, self._core.kept_ways())
            except EnvironmentFailure as exc:
                self._refuse(self._core.peers_by(Mode.IPSEC), Mode.IPSEC, exc)

    async def _keep_wireguard(self) -> None:
        """Keep WireGuard as the core has it; the peers of a start are one change, not a hundred."""
        while True:
            await self._wireguard_stale.wait()
            await trio.sleep(limits.GATHER_S)
            self._wireguard_stale = trio.Event()
            self._settle_wireguard()

    def _settle_wireguard(self) -> None:
        wish = self._core.wireguard_wish()
        if self._wireguard is not None and (wish.peers or self._wireguard.exists):
            try:
                self._wireguard.settle(wish)
            except EnvironmentFailure as exc:
                self._refuse(self._core.peers_by(Mode.WIREGUARD), Mode.WIREGUARD, exc)

    def _refuse(self, peers: Iterable[PeerName], mode: Mode, exc: EnvironmentFailure) -> None:
        log.warning("the kernel refuses an encrypted tunnel", extra=fields(mode=mode.words, reason=exc))
        now = trio.current_time()
        for peer in peers:
            self._apply(self._core.refuse(peer, mode, str(exc), now))

    def _emit(self, emit: Emit) -> None:
        trouble = self._sockets.send(emit.datagram, emit.address, emit.port)
        if trouble:
            self._core.unsent(emit, trouble)

    # -- what an earlier life left ----------------------------------------------------------------------------------

    def _found(self) -> Found:
        """Return the tunnels that are in the kernel, with keys that are still ours."""
        device = None
        if self._wireguard is not None:
            with suppress(NetlinkFailure):
                device = self._wireguard.look()
        is_ours = device is not None and device.private_key == wireguard_keys(self._config.static.private).private
        if device is not None and is_ours:
            self._found_inner = {peer.public_key: ip_address(network.network_address)
                                 for peer in device.peers for network in peer.allowed}
        return Found(frozenset(self._found_inner), self._found_ways())

    def _found_ways(self) -> dict[Way, int]:
        if self._ipsec is None:
            return {}
        places = {(state.destination, state.spi) for state in self._ipsec.associations() if state.reqid == REQID}
        return {
            Way(policy.key.source, policy.key.destination): policy.spi for policy in self._ipsec.policies()
            if policy.reqid == REQID and policy.key.outbound and policy.key.port == self._config.datapath.port
            and (policy.key.destination, policy.spi) in places
        }


async def wipe_links(config: DatapathConfig, *, netns: int | None = None) -> None:
    """Remove whatever an earlier router left for encrypted links: gate, policies, associations, WireGuard."""
    with run_there(netns, Netlink) as netlink, suppress(EnvironmentFailure), \
            closing(WireGuard(config, 0, netlink, netns)) as wireguard:
        wireguard.wipe()
    with suppress(EnvironmentFailure), closing(Ipsec(netns)) as ipsec:  # a kernel without has nothing to remove
        ipsec.wipe()
    await gatekeeper.remove(netns)
