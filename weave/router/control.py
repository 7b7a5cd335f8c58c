"""What the control API may ask of this router, passed on to the part that can do it.

Nothing is decided here but who is asked; the words of refusals come from the parts.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import trio

from store import Store
from weave import __version__
from weave.addresses import IPAddress, IPInterface, IPNetwork
from weave.api.control import Attachment, AttachSpec, DetachSpec
from weave.api.errors import Conflict, NotFound, NotReady
from weave.api.report import EndpointReport, Report
from weave.api.samples import Figure
from weave.api.trace import TraceReport
from weave.api.wishes import DEFAULT_WISH, Wish
from weave.mesh.dial_address import dial_key
from weave.names import PeerName
from weave.router import report
from weave.router.addressing import refuse_own
from weave.router.figures import figures
from weave.router.state import remember_targets
from weave.settings import Settings

if TYPE_CHECKING:
    from weave.router.router import Parts


class StopCallback(Protocol):
    """Begins the end of the router."""

    def __call__(self, *, wipe: bool) -> None:
        """Stop; with `wipe` remove what was made."""


def _nobody_stops(*, wipe: bool) -> None:
    raise NotReady(f"the router is starting; ask again soon (wipe={wipe})")


class RouterControl:
    """Implement `weave.api.control.Control` on the parts of a router."""

    def __init__(self, parts: "Parts", settings: Settings, store: Store, me: PeerName, uid: int) -> None:
        self.ready = False
        self.on_stop: StopCallback = _nobody_stops
        self._parts = parts
        self._settings = settings
        self._store = store
        self._me = me
        self._uid = uid
        self._remembering = trio.Lock()
        """What is remembered of targets changes in the order in which it was asked for."""

    # -- reports --------------------------------------------------------------------------------------------------

    def nicknames(self) -> dict[PeerName, str]:
        """Return what people call the peers we know."""
        return self._parts.mesh.core.nicknames()

    def report(self) -> Report:
        """Return everything this router knows of itself."""
        parts, now = self._parts, trio.current_time()
        mtu = parts.datapath.mtu
        warnings = [failure for failure in (
            parts.fabric.failure, parts.fabric.hindrance, parts.sleeve.failure) if failure is not None]
        warnings += [] if parts.dns is None else parts.dns.problems
        tunnels = {} if parts.secure is None else parts.secure.qualities()
        rings = [] if parts.ipam is None else [report.ipam_report(view) for view in parts.ipam.views()]
        return {
            "Ready": self.ready, "Version": __version__,
            "Router": report.router_report(self._settings, parts.mesh, parts.fabric, name=self._me, uid=self._uid,
                                           mtu=mtu, refused=self._refused(), warnings=warnings, now=now),
            "IPAM": rings[0] if rings else None, "IPAM6": rings[1] if len(rings) > 1 else None,
            "DNS": None if parts.dns is None or parts.catalogue is None else report.dns_report(
                parts.dns, parts.catalogue, self._settings),
            "Endpoints": self._endpoints(),
            "Links": report.link_reports(parts.fabric.links, parts.sleeve.statuses, tunnels, mtu,
                                         parts.fabric.mtu),
            "Bridge": report.bridge_report(parts.datapath, parts.fabric.mtu.words(self.nicknames(), now)),
        }

    def _refused(self) -> Counter[str]:
        """Return what peers sent and the allocator or the catalogue refused."""
        parts = self._parts
        refused: Counter[str] = Counter(parts.tracer.refused)
        if parts.ipam is not None:
            refused += parts.ipam.refused()
        if parts.catalogue is not None:
            refused += Counter({f"name {reason}": count for reason, count in parts.catalogue.refused.items()})
        return refused

    def figures(self) -> Sequence[Figure]:
        """Return counters and gauges that the report does not have."""
        return figures(self._parts)

    async def trace(self, source: str, destination: str) -> TraceReport:
        """Return what becomes of a packet between two ends."""
        return await self._parts.tracer.trace(source, destination)

    # -- mesh -----------------------------------------------------------------------------------------------------

    async def connect(self, targets: Sequence[str], *, replace: bool) -> None:
        """Add targets, or make them the only ones; they are remembered."""
        self._parts.mesh.connect(targets, replace=replace)
        async with self._remembering:
            await remember_targets(self._store, targets, (), port=self._settings.port, replace=replace)

    async def forget(self, targets: Sequence[str]) -> None:
        """Drop targets; unknown ones are ignored, what can be none is refused before anything is dropped."""
        for target in targets:
            dial_key(target, self._settings.port)
        self._parts.mesh.forget(targets)
        async with self._remembering:
            await remember_targets(self._store, (), targets, port=self._settings.port)

    async def takeover(self, peer: str) -> int:
        """Take the address space of a dead peer, given by name or nickname; return how many addresses it was."""
        ipam = self._parts.addressing.ipam
        view = [owner for ring in ipam.views() for owner in ring.owners]
        owners = {owner.peer: owner.nickname for owner in view}
        known = {**self.nicknames(), **{name: nick for name, nick in owners.items() if nick}}
        found = sorted({*(name for name, nickname in known.items() if peer in (name, nickname)),
                        *(name for name in owners if name == peer)})
        if not found:
            raise NotFound(f"there is no peer {peer}; `weave status peers` and `weave status ipam` list them")
        dead = [name for name in found if name in {owner.peer for owner in view if not owner.reachable}]
        if len(dead) == 1:
            found = dead  # a host that was set up anew has the nickname of its earlier self
        if len(found) > 1:
            raise Conflict(f"{len(found)} peers are called {peer}: {', '.join(found)}; say which by its name")
        return await ipam.takeover(found[0])

    async def surrender(self) -> None:
        """Give our address space to another peer before we leave for good; not while another machine has our key."""
        if self._parts.mesh.core.has_clone():
            raise Conflict(f"another machine runs with the key of this peer ({self._me}) and gives out the same "
                           "addresses, so they are not given away; `weave reset --force` removes what is here without "
                           "that")
        if self._parts.ipam is not None:
            await self._parts.ipam.surrender()

    async def stop(self, *, wipe: bool) -> None:
        """Begin to shut down and return."""
        self.on_stop(wipe=wipe)

    # -- addresses ------------------------------------------------------------------------------------------------

    async def prime(self) -> None:
        """Wait until the range has been divided among the peers."""
        await self._parts.addressing.ipam.prime()

    async def allocate(self, ident: str, subnet: IPNetwork | None) -> IPInterface:
        """Return an address for `ident`."""
        return await self._parts.addressing.ipam.allocate(ident, subnet)

    async def claim(self, ident: str, interface: IPInterface) -> None:
        """Reserve one address for `ident`."""
        await self._parts.addressing.claim(ident, interface)

    async def release(self, ident: str, address: IPAddress | None) -> None:
        """Free one address of `ident`, or all; those of the host itself are for `hide` to free."""
        refuse_own(ident)
        await self._parts.addressing.release(ident, address)

    def lookup(self, ident: str, subnet: IPNetwork | None) -> Sequence[IPInterface]:
        """Return the addresses that `ident` holds."""
        return self._parts.addressing.ipam.lookup(ident, subnet)

    def owned(self) -> Mapping[str, Sequence[IPInterface]]:
        """Return the addresses held on this host by who holds them."""
        return self._parts.addressing.ipam.owned()

    # -- containers -----------------------------------------------------------------------------------------------

    async def attach(self, spec: AttachSpec) -> Attachment:
        """Put a container on the network."""
        multicast = spec.multicast_route and self._settings.multicast_route
        return await self._parts.containers.attach(replace(spec, multicast_route=multicast))

    async def detach(self, spec: DetachSpec) -> Sequence[IPInterface]:
        """Take a container, or some of its addresses, off the network."""
        return await self._parts.containers.detach(spec)

    def attachments(self) -> Sequence[Attachment]:
        """Return the containers on this host's bridge."""
        return self._parts.containers.attachments()

    async def endpoints(self, after: int | None) -> tuple[int, Sequence[EndpointReport]]:
        """Return every interface on the network, once their generation is not `after`."""
        generation = await self._parts.endpoint_watch.beyond(after)
        return generation, self._endpoints()

    def _endpoints(self) -> list[EndpointReport]:
        parts = self._parts
        return report.endpoint_reports(parts.announcer.local(), parts.fabric.endpoints(), self.nicknames(), self._me)

    async def expose(self, wishes: Sequence[Wish], *, fqdn: str | None, masquerade: bool) -> Sequence[IPInterface]:
        """Give the host itself addresses on the network."""
        return await self._parts.exposure.expose(wishes or (DEFAULT_WISH,), fqdn, masquerade=masquerade)

    async def hide(self, wishes: Sequence[Wish]) -> Sequence[IPInterface]:
        """Take the host off the network."""
        return await self._parts.exposure.hide(wishes)

    async def cni(self, plugin: str, octets: bytes) -> tuple[int, str]:
        """Answer a container runtime."""
        return await self._parts.cni.answer(plugin, octets)

    # -- names ----------------------------------------------------------------------------------------------------

    async def name_service(self) -> IPAddress:
        """Return where names are answered, which is at the bridge."""
        bridge = await self._parts.addressing.bridge_address()
        addresses = (address.ip for address in self._parts.datapath.bridge_addresses())
        found = next(addresses, None) if bridge is None else bridge.ip
        if found is None:
            raise NotReady("the bridge has no address, and this router gives none (--ipalloc-range none); "
                           "`weave expose ADDRESS` does")
        return found

    async def add_name(self, container: str, fqdn: str, address: IPAddress) -> None:
        """Register a name with one address."""
        await self._parts.naming.add(container, fqdn, address)

    async def remove_name(self, container: str | None, fqdn: str | None, address: IPAddress | None) -> None:
        """Remove every name that matches all that is given."""
        await self._parts.containers.forget_names(container, fqdn, address)
        await self._parts.naming.remove(container, fqdn, address)

    def resolve(self, name: str) -> Sequence[IPAddress]:
        """Return the addresses of a name in our domain."""
        return self._parts.naming.resolve(name)
