"""A host's containers with everything behind them but the kernel and the other peers, which are stood in for."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from random import Random
from zlib import crc32

import trio
import trio.testing

from store import MemoryStore
from store.changes import Change
from weave.addresses import IPAddress, IPInterface, IPNetwork
from weave.api.control import AttachSpec
from weave.api.wishes import parse_wishes
from weave.dns import Catalogue
from weave.errors import EnvironmentFailure
from weave.ipam import Allocators, IpamService, Seed
from weave.names import PeerName
from weave.net import Attachment, AttachRequest, BridgeState, Endpoint
from weave.router import containers, exposure, naming
from weave.router.addressing import Addressing
from weave.router.admission import Admission
from weave.router.announce import Announcer
from weave.router.containers import Containers
from weave.router.exposure import Exposure
from weave.router.naming import Naming
from weave.router.others import Others

ME = PeerName("02:00:00:00:00:01")
RANGE = ip_network("10.32.0.0/24")
MTU = 1450
NETNS = Path("/run/netns/blue")


class SlowStore(MemoryStore):
    """A store whose caller may give up when the rows are on the disk already."""

    async def commit(self, changes: Sequence[Change]) -> None:
        await trio.lowlevel.checkpoint()
        await super().commit(changes)
        await trio.lowlevel.checkpoint()


class FakeMesh:
    """Peers that hear everything."""

    def check(self, channel: str, key: bytes, value: bytes | None) -> None:
        """Have room for whatever comes."""

    def publish(self, channel: str, key: bytes, value: bytes | None) -> None:
        """Hear of it."""


def _mac(container: str, interface: str) -> str:
    return f"02:00:{crc32(f'{container} {interface}'.encode()).to_bytes(4).hex(':')}"


@dataclass
class FakeKernel:
    """The part of `Datapath` that containers and exposure use; once begun, a change is not cancelled."""

    inside: dict[tuple[str, str], tuple[IPInterface, ...]] = field(default_factory=dict)
    macs: dict[tuple[str, str], str] = field(default_factory=dict)
    bridge: set[IPInterface] = field(default_factory=set)
    own: set[IPInterface] | None = None
    """Of the addresses of the bridge; None: nobody said."""
    lent: set[IPInterface] = field(default_factory=set)
    refuses: IPInterface | None = None
    """An address that the bridge cannot have."""
    is_broken: bool = False
    admits: bool = True
    bridge_mac: str = ME
    mtu: int = MTU

    def decide(self, request: AttachRequest) -> tuple[str, int]:
        return request.mac or self._mac_of(request.container, request.interface), MTU

    def _mac_of(self, container: str, interface: str) -> str:
        return self.macs.get((container, interface)) or _mac(container, interface)

    async def _work(self) -> None:
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.cancel_shielded_checkpoint()
        if self.is_broken:
            raise EnvironmentFailure("the kernel would not have it")

    async def attach(self, request: AttachRequest) -> Attachment:
        await self._work()
        self.inside[request.container, request.interface] = request.addresses
        self.macs[request.container, request.interface] = self.decide(request)[0]
        return self._attachment(request.container, request.interface)

    async def detach(self, container: str, interface: str) -> None:
        await self._work()
        self.inside.pop((container, interface), None)
        self.macs.pop((container, interface), None)

    async def remove_addresses(self, container: str, interface: str, netns: Path, gone: Sequence[IPInterface]) -> None:
        await self._work()
        held = self.inside.get((container, interface), ())
        self.inside[container, interface] = tuple(item for item in held if item not in gone)

    async def links_changed(self) -> None:
        await trio.sleep_forever()

    async def attachments(self) -> list[Attachment]:
        await trio.lowlevel.checkpoint()
        return [self._attachment(*key) for key in sorted(self.inside)]

    def _attachment(self, container: str, interface: str) -> Attachment:
        return Attachment(container=container, interface=interface, mac=self._mac_of(container, interface),
                          addresses=self.inside[container, interface], mtu=MTU, host_interface="vethwe0")

    def are_admitted(self, addresses: Sequence[IPAddress]) -> bool:
        return self.admits

    async def add_bridge_address(self, interface: IPInterface) -> None:
        await self._work()
        if interface == self.refuses:
            raise EnvironmentFailure(f"the bridge cannot have {interface}")
        self.bridge.add(interface)
        self.own = {*self.bridge_addresses(), interface}

    async def remove_bridge_address(self, interface: IPInterface) -> None:
        await self._work()
        self.bridge.discard(interface)
        self.own = {*self.bridge_addresses()} - {interface}

    async def expose(self, interface: IPInterface, *, masquerade: bool) -> None:
        await self.add_bridge_address(interface)
        await self._masquerade(interface, wanted=masquerade)

    @property
    def masqueraded(self) -> set[IPNetwork]:
        return {interface.network for interface in self.lent}

    async def restore_exposed(self, interfaces: Collection[IPInterface], lent: Collection[IPInterface]) -> None:
        await self._work()
        self.bridge.update(interfaces)
        self.own, self.lent = set(interfaces), set(lent)

    def bridge_addresses(self) -> list[IPInterface]:
        return sorted(self.bridge if self.own is None else self.own)

    async def hide(self, interface: IPInterface) -> None:
        await self._masquerade(interface, wanted=False)
        await self.remove_bridge_address(interface)

    async def _masquerade(self, interface: IPInterface, *, wanted: bool) -> None:
        await self._work()
        if wanted:
            self.lent.add(interface)
        else:
            self.lent.discard(interface)

    def bridge_state(self) -> BridgeState:
        return BridgeState("weave", self.bridge_mac, MTU, tuple(sorted(self.bridge)), False)


@dataclass
class House:
    """One host."""

    store: MemoryStore
    kernel: FakeKernel
    service: IpamService
    addressing: Addressing
    catalogue: Catalogue
    naming: Naming
    announcer: Announcer
    containers: Containers
    exposure: Exposure
    others: list[Endpoint]
    """What lives on other hosts."""

    async def state(self) -> object:
        """Return everything that there is of containers, addresses and names, to be compared."""
        tables = [await self.store.read(table) for table in (containers.TABLE, exposure.TABLE, naming.TABLE)]
        return (dict(self.kernel.inside), set(self.kernel.bridge), set(self.kernel.masqueraded), self.service.owned(),
                tables, self.containers.attachments(), self.announcer.local(), self.catalogue.entries())


@asynccontextmanager
async def house(*, has_bridge: bool = True) -> AsyncIterator[House]:
    """Run a host alone, which owns the range; its bridge has an address, unless it shall have none yet."""
    others: list[Endpoint] = []
    store, mesh, kernel = SlowStore(), FakeMesh(), FakeKernel()
    service = IpamService(me=ME, range_=RANGE, default_subnet=None, init=Seed((ME,)), store=store,
                          publish=lambda _key, _value: None, send=lambda _peer, _payload: None, rng=Random(1))
    addressing = Addressing(Allocators({4: service}), kernel, [RANGE],  # type: ignore[arg-type]
                            Others(lambda: others))
    catalogue = Catalogue(me=ME, ranges=[RANGE])
    names = Naming(store=store, mesh=mesh, catalogue=catalogue, me=ME)  # type: ignore[arg-type]
    announcer = Announcer(mesh, ME)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)
        service.expect_nobody()
        made = House(
            store, kernel, service, addressing, catalogue, names, announcer,
            Containers(store=store, datapath=kernel, addressing=addressing,  # type: ignore[arg-type]
                       naming=names, announcer=announcer, admission=Admission(kernel),  # type: ignore[arg-type]
                       others=Others(lambda: others)),
            Exposure(store=store, datapath=kernel, addressing=addressing,  # type: ignore[arg-type]
                     naming=names, announcer=announcer, others=Others(lambda: others)), others)
        await names.recover()
        await made.exposure.recover()
        await made.containers.recover()
        if has_bridge:
            await addressing.bridge_address()
        yield made
        nursery.cancel_scope.cancel()


def spec(container: str = "blue", *wishes: str, interface: str = "ethwe", fqdns: Sequence[str] = (),
         mac: str | None = None, own_fqdn: str | None = None, mtu: int | None = None) -> AttachSpec:
    """Return what `weave attach` would ask for."""
    return AttachSpec(container, NETNS, interface, parse_wishes(wishes or ("net:default",)), tuple(fqdns),
                      own_fqdn, mac, mtu)


async def cut_short(job: Callable[[], Awaitable[object]], steps: int) -> bool:
    """Run a job and cancel it after some steps of the scheduler; say whether it was cancelled before its end."""
    ended = False

    async def run() -> None:
        nonlocal ended
        await job()
        ended = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        for _ in range(steps):
            await trio.lowlevel.cancel_shielded_checkpoint()
        nursery.cancel_scope.cancel()
    return not ended


def play(story: Callable[[], Awaitable[None]]) -> None:
    """Run a story on a clock that jumps where everybody waits."""
    trio.run(story, clock=trio.testing.MockClock(autojump_threshold=0))
