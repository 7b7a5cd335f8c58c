"""Whole sleeves but for the loop, on sockets of the loopback; a socket pair stands for the TAP device.

    bridge ⇄ Outlet, Inlet ⇄ UDP 127.0.0.x ⇄ Inlet, Outlet ⇄ bridge
"""

import hashlib
import os
import select
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from ipaddress import ip_address

from tests.unit.sleeve.wires import PSK, key_pair
from weave.net.sleeve.buffers import SOL_UDP, UDP_GRO, UDP_SEGMENT
from weave.net.sleeve.core import SleeveCore
from weave.net.sleeve.inlet import Inlet
from weave.net.sleeve.model import PeerConfig, Resend, Send
from weave.net.sleeve.outlet import Outlet
from weave.net.sleeve.udp import Sockets
from weave.net.sleeve.wire import Address, Key

FRAME_MOST = 70_000
MTU = 1472
POLL_MS = 20
TURNS = 500


class End:
    """One sleeve."""

    def __init__(self, name: str, *, port: int = 0, joins: bool = True) -> None:
        self.name = name
        self.mac = hashlib.sha256(name.encode()).digest()[:6]
        self.sockets = Sockets(ip_address("127.0.0.1"), port)
        [self.sock] = self.sockets.by_family.values()
        if not joins:
            self.sock.setsockopt(SOL_UDP, UDP_GRO, 0)
        self.address: Address = self.sock.getsockname()
        self.core = SleeveCore(key_pair(name), [PSK], os.urandom, MTU)
        self._tap, self.bridge = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for sock in (self._tap, self.bridge):
            sock.setblocking(False)
        self.outlet = Outlet(self.core, self.sockets, self._tap.fileno())
        self.inlet = Inlet(self.core, self.sockets, self.sock.fileno(), self._tap.fileno(), MTU, merges=False)
        self.frames: list[bytes] = []
        """What arrived at the bridge."""
        self.cut: Address | None = None
        """Where nothing of ours arrives; those who never met have nothing but handshakes for each other."""

    def meet(self, others: Sequence["End"], now: float) -> None:
        self.core.set_peers([PeerConfig(other.name, Key(key_pair(other.name).public), (other.address,))
                             for other in others], now)
        self.outlet.macs = {other.mac: other.name for other in others}

    def knows(self, other: "End") -> bool:
        return self.core.peers[other.name].is_established

    def frame(self, to: "End", payload: bytes) -> bytes:
        return bytes(10) + to.mac + self.mac + b"\x88\xb5" + payload

    def turn(self, now: float) -> None:
        self.inlet.pump(now)
        self.outlet.pump(now)
        self.core.tick(now)
        if self.inlet.held_until <= now:
            self.inlet.let_go(now)
        effects, self.core.effects = self.core.effects, []
        for effect in effects:
            if isinstance(effect, Send) and effect.address != self.cut:
                self.sockets.send(effect.datagram, effect.address)
            elif isinstance(effect, Resend):
                self.outlet.resend(effect)
        while True:
            try:
                self.frames.append(self.bridge.recv(FRAME_MOST))
            except BlockingIOError:
                return

    def send(self, frame: bytes, now: float) -> None:
        """Have a frame of our bridge sealed and sent."""
        self.bridge.send(frame)
        self.outlet.pump(now)

    def waiting(self) -> list[bytes]:
        """Take the datagrams that wait at our socket away, each by itself."""
        found = []
        while True:
            try:
                datagram, controls, _, _ = self.sock.recvmsg(FRAME_MOST, 64)
            except BlockingIOError:
                break
            size = next((int.from_bytes(data[:2], sys.byteorder) for level, kind, data in controls
                         if (level, kind) == (SOL_UDP, UDP_GRO)), len(datagram))
            found += [datagram[at:at + size] for at in range(0, len(datagram), size)]
        return found

    def close(self) -> None:
        self.sockets.close()
        self._tap.close()
        self.bridge.close()


def burst(end: End, datagrams: list[bytes], to: Address) -> None:
    """Send datagrams as the kernel joins them: all of one size but the last."""
    control = [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", len(datagrams[0])))] if len(datagrams) > 1 else []
    end.sock.sendmsg([b"".join(datagrams)], control, 0, to)


class Clock:
    """Time that passes as the test goes on, whatever the machine is busy with."""

    def __init__(self) -> None:
        self.now = 100.0

    def run(self, ends: Sequence[End], until: Callable[[], bool], step_s: float = 0.002,
            poll_ms: int = POLL_MS) -> None:
        """Let all have their turns until something holds; between turns wait a little for what is under way."""
        poll = select.poll()
        for end in ends:
            poll.register(end.sock, select.POLLIN)
        for _ in range(TURNS):
            for end in ends:
                end.turn(self.now)
            if until():
                return
            self.now += step_s
            poll.poll(poll_ms)
        raise AssertionError("it never came true")
