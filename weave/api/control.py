"""What the control API asks of a router, and the values that pass between the two.

`Control` is implemented by `weave.router`; the API knows nothing else of it. What only reads memory is a plain method,
what may wait (for the disk, the kernel, other peers) is async. Deadlines are the API's: a method waits as long as it
must, and a cancelled call leaves nothing half done. Refusals are the errors of `weave.api.errors`, or a plain
`LocalError` (the request makes no sense, 400) or `EnvironmentFailure` (the kernel, disk or peers failed us, 503).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from weave.addresses import IPAddress, IPInterface, IPNetwork
from weave.api.report import EndpointReport, Report
from weave.api.samples import Figure
from weave.api.trace import TraceReport
from weave.api.wishes import DEFAULT_WISH, Wish

DEFAULT_INTERFACE = "ethwe"
"""What Weave Net called the interface inside a container; CNI asks for `eth0`."""


@dataclass(frozen=True, slots=True)
class AttachSpec:
    """A container to be put on the network; asking twice for the same changes nothing and answers the same."""

    container: str
    """Id under which its addresses and names are kept."""
    netns: Path
    """Its network namespace: `/proc/123/ns/net`, `/run/netns/blue`."""
    interface: str = DEFAULT_INTERFACE
    wishes: tuple[Wish, ...] = (DEFAULT_WISH,)
    """Never empty."""
    fqdns: tuple[str, ...] = ()
    """Names to register, each with every address; a name outside our domain is the router's to refuse or ignore."""
    own_fqdn: str | None = None
    """The name that it gets when it is new and `fqdns` is empty."""
    mac: str | None = None
    """None: the router derives one."""
    mtu: int | None = None
    default_route: bool = False
    multicast_route: bool = True
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What policy and people know it by; added to those it has."""
    hairpin: bool = True
    """It may reach itself by way of the bridge, as a client of a service that it is behind."""
    routes: tuple[tuple[IPNetwork, IPAddress | None], ...] = ()
    """Destinations and gateways, beside what the flags above say."""
    optional_routes: tuple[tuple[IPNetwork, IPAddress | None], ...] = ()
    """Left out where the container reaches that destination by another interface already."""
    network: str | None = None
    """Name of the CNI network on whose behalf."""
    must_be_new: bool = False
    """Refuse with `Conflict` where the interface is there already."""


@dataclass(frozen=True, slots=True)
class DetachSpec:
    """What to take off the network; detaching what is already gone succeeds."""

    container: str
    interface: str | None = None
    """None: every interface of this container."""
    wishes: tuple[Wish, ...] = ()
    """Empty: all its addresses, and the interface with them. `AnyIn` means the addresses it holds in that subnet."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A container on this host's bridge."""

    container: str
    interface: str
    mac: str
    addresses: tuple[IPInterface, ...]
    mtu: int
    netns: Path | None = None
    """None where it was found again after a restart but its namespace is not known."""
    gateway: IPAddress | None = None
    """The bridge's address where the host is exposed."""
    fqdns: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    network: str | None = None
    """Name of the CNI network it was added for; None where somebody attached it by hand."""
    left_out: tuple[IPNetwork, ...] = ()
    """Destinations of optional routes that it did not get; known when it was just attached."""


class Control(Protocol):
    """A running router, as its operators see it."""

    @property
    def ready(self) -> bool:
        """Say whether peers can connect and containers can be attached."""

    def report(self) -> Report:
        """Return the report: JSON values only, lists in a stable order."""

    def figures(self) -> Sequence[Figure]:
        """Return counters and gauges that the report does not have."""

    async def trace(self, source: str, destination: str) -> TraceReport:
        """Return what becomes of a packet between two ends: addresses, hosts, pods, containers or names."""

    # Mesh

    async def connect(self, targets: Sequence[str], *, replace: bool) -> None:
        """Add targets (`host[:port]`), or make them the only ones; they are remembered."""

    async def forget(self, targets: Sequence[str]) -> None:
        """Drop targets; unknown ones are ignored."""

    async def takeover(self, peer: str) -> int:
        """Take the address space of a dead peer, given by name or nickname; return how many addresses it was."""

    async def surrender(self) -> None:
        """Give our address space to another peer before we leave for good."""

    async def stop(self, *, wipe: bool) -> None:
        """Begin to shut down and return; `wipe` also removes the state, the bridge and whatever else we made."""

    # Addresses; `ident` is a container's id or a word such as `weave:expose`

    async def prime(self) -> None:
        """Wait until the range has been divided among the peers."""

    async def allocate(self, ident: str, subnet: IPNetwork | None) -> IPInterface:
        """Return the address `ident` has in a subnet (None: the default), a new one if it has none; may wait."""

    async def claim(self, ident: str, interface: IPInterface) -> None:
        """Reserve one address for `ident`; `Conflict` when another has it."""

    async def release(self, ident: str, address: IPAddress | None) -> None:
        """Free one address of `ident`, or all; one that is not held is `NotFound`."""

    def lookup(self, ident: str, subnet: IPNetwork | None) -> Sequence[IPInterface]:
        """Return the addresses that `ident` holds (in that subnet), maybe none."""

    def owned(self) -> Mapping[str, Sequence[IPInterface]]:
        """Return the addresses held on this host by who holds them."""

    # Containers

    async def attach(self, spec: AttachSpec) -> Attachment:
        """Put a container on the network; undo everything when any step fails."""

    async def detach(self, spec: DetachSpec) -> Sequence[IPInterface]:
        """Take a container, or some of its addresses, off the network; return the addresses removed."""

    def attachments(self) -> Sequence[Attachment]:
        """Return the containers on this host's bridge."""

    async def endpoints(self, after: int | None) -> tuple[int, Sequence[EndpointReport]]:
        """Return every interface on the network with a generation that changes with them.

        Where `after` is the present generation, wait for another one, however long that takes.
        """

    async def expose(self, wishes: Sequence[Wish], *, fqdn: str | None, masquerade: bool) -> Sequence[IPInterface]:
        """Give the host itself addresses on the network; return all that these wishes stand for, old or new."""

    async def hide(self, wishes: Sequence[Wish]) -> Sequence[IPInterface]:
        """Take the host off the network (no wish: altogether); return the addresses removed."""

    async def cni(self, plugin: str, octets: bytes) -> tuple[int, str]:
        """Answer what a container runtime asks of a CNI plugin: how its executable ends, and what it prints.

        What the octets are is said in `weave.cni.request`; whatever goes wrong is an answer too.
        """

    # Names

    async def name_service(self) -> IPAddress:
        """Return where names are answered on this host; its bridge gets an address for that if it has none yet."""

    async def add_name(self, container: str, fqdn: str, address: IPAddress) -> None:
        """Register a name with one address, on behalf of a container."""

    async def remove_name(self, container: str | None, fqdn: str | None, address: IPAddress | None) -> None:
        """Remove every name that matches all that is given; no match is no error."""

    def resolve(self, name: str) -> Sequence[IPAddress]:
        """Return the addresses of a name in our domain (the domain may be left out); maybe none."""
