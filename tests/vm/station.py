"""Two hosts with one container each, as network namespaces of this kernel, and packets between them.

             switch (bridge `lan`, captured from the first packet to the last)
             p1 │                       │ p2
             u0 h1 192.0.2.1            h2 192.0.2.2 u0        or 2001:db8::1 and 2001:db8::2
                 weave                   weave
                  │                       │
                 c1 10.32.0.1            c2 10.32.0.2

A `Station` stands for the router of a host: it has the datapath and the encrypted links, and does of forwarding what a
router does. The mesh is a queue. Where a link has no tunnel, a router would use the sleeve; here it has nothing, so
that what arrives came through a tunnel.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from ipaddress import ip_address
from pathlib import Path

import trio

from tests.vm.world import namespace, run
from weave.addresses import parse_interface
from weave.names import PeerName
from weave.net.crypt.candidates import Mode
from weave.net.crypt.capability import KernelAbility
from weave.net.crypt.effects import SecureLink
from weave.net.crypt.peer import Counterpart
from weave.net.crypt.service import CryptConfig, SecureLinks
from weave.net.datapath import Datapath
from weave.net.model import AttachRequest, DatapathConfig, Endpoint, Remote
from weave.noise.keys import KeyPair

PASSWORD_KEY = b"k" * 32
MAIL = 256


class Station:
    """One host."""

    def __init__(self, number: int, switch: int, ability: KernelAbility, version: int) -> None:
        self.number = number
        self.ability = ability
        self.peer = PeerName(f"02:00:00:00:00:{number:02x}")
        self.static = KeyPair.from_private(bytes([number]) * 32)
        self.address = ip_address(f"192.0.2.{number}" if version == 4 else f"2001:db8::{number}")
        self.host, self.container = namespace(), namespace()
        self.life = 0
        self.secure: SecureLinks | None = None
        self.other: Station
        self.endpoint: Endpoint | None = None
        self._datapath: Datapath | None = None
        self._stale = trio.Event()
        self._mail_in, self._mail = trio.open_memory_channel[bytes](MAIL)
        run("ip", "link", "add", f"p{number}", "up", "master", "lan", "type", "veth", "peer", "name", "u0",
            "netns", f"/proc/{os.getpid()}/fd/{self.host}", where=switch)
        run("ip", "link", "set", "u0", "up", where=self.host)
        prefix = f"{self.address}/{24 if version == 4 else 64}"
        run("ip", "address", "add", prefix, "dev", "u0", *([] if version == 4 else ["nodad"]), where=self.host)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Have the router of this host up."""
        self.life += 1
        config = DatapathConfig(self.peer, sealing=self.ability.overhead)
        async with Datapath.open(config, netns=self.host) as datapath:
            self._datapath = datapath
            crypt = CryptConfig(config, self.static, self.life, (PASSWORD_KEY,), datapath.mtu, datapath.underlay_mtu,
                                self.ability)
            async with SecureLinks.open(crypt, netns=self.host) as secure, trio.open_nursery() as nursery:
                self.secure = secure
                secure.on_send = lambda _peer, payload: self.other.deliver(payload)
                secure.on_changed = self._changed
                await nursery.start(secure.run)
                nursery.start_soon(self._read_mail)
                nursery.start_soon(self._program)
                try:
                    yield
                finally:
                    self.secure = None
                    nursery.cancel_scope.cancel()

    def _changed(self) -> None:
        self._stale.set()

    async def attach(self) -> None:
        """Put the container on the bridge."""
        assert self._datapath is not None
        address = parse_interface(f"10.32.0.{self.number}/12")
        made = await self._datapath.attach(AttachRequest(
            f"c{self.number}", Path(f"/proc/{os.getpid()}/fd/{self.container}"), (address,)))
        self.endpoint = Endpoint(made.mac, made.addresses, made.container, made.interface, self.peer)
        self.other._stale.set()

    def deliver(self, payload: bytes) -> None:
        """Take a message about keys from the mesh; a router that is down hears nothing."""
        with suppress(trio.WouldBlock):
            if self.secure is not None:
                self._mail_in.send_nowait(payload)

    def link(self) -> SecureLink:
        """Return how the tunnels to the other host stand."""
        assert self.secure is not None
        return self.secure.links()[self.other.peer]

    def want(self) -> None:
        """Have tunnels to the other host, as far as its router tells of itself."""
        assert self.secure is not None
        way = self.secure.way_to(self.other.address)
        assert way is not None
        crypt = CryptConfig(DatapathConfig(self.other.peer), self.other.static, 1, (), 1500, 1500, self.other.ability)
        self.secure.want([Counterpart(self.other.peer, self.other.static.public, crypt.claim, way, translated=False,
                                      reachable=self.other.secure is not None)])
        self._stale.set()

    async def _read_mail(self) -> None:
        async for payload in self._mail:
            if self.secure is not None:
                self.secure.message(self.other.peer, payload)

    async def _program(self) -> None:
        while True:
            await self._stale.wait()
            self._stale = trio.Event()
            if self._datapath is None or self.secure is None:
                return
            await self.secure.settle(())
            link = self.secure.links().get(self.other.peer)
            remotes = [] if link is None or link.vtep is None else [Remote(self.other.peer, link.vtep)]
            await self._datapath.set_remotes(remotes, self.secure.accepted())
            await self._datapath.set_endpoints([] if self.other.endpoint is None else [self.other.endpoint])


def uses(stations: tuple[Station, Station], mode: Mode | None) -> bool:
    """Say whether both hosts use a tunnel of this mode."""
    return all(station.secure is not None and station.other.peer in station.secure.links()
               and station.link().mode == mode for station in stations)

