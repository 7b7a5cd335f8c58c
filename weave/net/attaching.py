"""Put a container's interface on the bridge. Blocking; runs while its thread is inside the container's namespace.

The cable is made by one message: its far end is born in the container's namespace, its near end is a port of the
bridge. Whatever fails after that is undone. `host` is a connection to the host's namespace, `inside` one to the
container's.

    host                                   container
    weave (bridge)                         ethwe
      └── vethwe1a2b3c4d ════ veth ═════════┘   addresses, routes
"""

import errno
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from weave.addresses import IPInterface
from weave.errors import EnvironmentFailure, LocalError
from weave.net import limits, naming, sysctl
from weave.net.announcing import announce
from weave.net.frames import announcement
from weave.net.model import Attachment, AttachRequest, InsideState, Route, in_order
from weave.net.mtu import adjusted
from weave.net.plan import MULTICAST, Inside, plan_inside
from weave.net.shaping import Limit, limit
from weave.netlink import messages
from weave.netlink.codec import Message
from weave.netlink.connection import Netlink, NetlinkFailure
from weave.netlink.constants import IFLA_BRPORT_LEARNING, IFLA_BRPORT_MODE, IN6_ADDR_GEN_MODE_NONE, RT_TABLE_MAIN
from weave.netlink.readings import Link, read_address, read_link, read_route

ALREADY_GONE = frozenset({errno.ENODEV, errno.ENOENT, errno.ESRCH, errno.EADDRNOTAVAIL, errno.ENXIO})
LOOPBACK = 1
"""The index of `lo` in every namespace."""


@dataclass(frozen=True, slots=True)
class Cable:
    """An attachment to be made, with all that was left open decided."""

    request: AttachRequest
    bridge: int
    mac: str
    host_mac: str
    """Of the host's end."""
    mtu: int
    namespace: int
    """Descriptor of the container's network namespace."""

    @property
    def host_interface(self) -> str:
        """Name of the host's end."""
        return naming.host_interface(self.request.container, self.request.interface)

    def __str__(self) -> str:
        return f"attach {self.request.interface} of container {self.request.container}"


def attach(cable: Cable, host: Netlink, later: ExitStack) -> tuple[int, Attachment]:
    """Make the interface as requested, or complete the one that is there; on failure all is as it was before.

    Return also the index of the host's end; leave on `later` what is slow to clean up.
    """
    with Netlink() as inside:
        present = _present(cable, host, inside)
        if present is not None:
            held = _addresses(inside, present.index), _routes(inside, present.index)
            return _complete(cable, inside, present, later, *held)
        _create(cable, host)
        try:
            return _complete(cable, inside, _far_end(cable, inside), later)
        except BaseException:
            remove(cable.host_interface, host)
            raise


def remove(host_interface: str, host: Netlink) -> bool:
    """Remove the host's end of a cable, and the other end with it; say whether there was one."""
    link = _named(host, host_interface)
    if link is None:
        return False
    try:
        host.run([messages.delete_link(link.index)], f"remove {host_interface}")
    except NetlinkFailure as exc:
        if exc.code not in ALREADY_GONE:
            raise
    return True


def remove_addresses(interface: str, addresses: Sequence[IPInterface]) -> None:
    """Take addresses from an interface of the namespace that the thread is in; what is gone already is fine."""
    with Netlink() as inside:
        link = _named(inside, interface)
        if link is None:
            return
        for refusal in inside.attempt([messages.delete_address(link.index, item) for item in addresses]):
            if refusal.code not in ALREADY_GONE:
                subject = f"remove {addresses[refusal.index]} from {interface}"
                raise NetlinkFailure(subject, refusal.code, refusal.reason)


def inspect(host_interface: str, interface: str, bridge: int, host: Netlink) -> InsideState | None:
    """Return a container's interface as it is, seen from the thread's namespace; None where it is not there."""
    near = _named(host, host_interface)
    with Netlink() as inside:
        far = _named(inside, interface)
        if near is None or far is None or far.peer != near.index or near.peer != far.index:
            return None
        return InsideState(far.mac, far.mtu, far.is_up, frozenset(_addresses(inside, far.index)),
                           frozenset(_routes(inside, far.index)), near.name, near.mac, near.master == bridge)


def resize(host_interface: str, interface: str, before: int, after: int, host: Netlink) -> int | None:
    """Let a container's interface follow the MTU of the segment, from the thread's namespace; return its MTU.

    It is the other end of the cable, whatever the container has named it since. None: it is gone.
    """
    near = _named(host, host_interface)
    with Netlink() as inside:
        far = None if near is None else _found(inside, messages.get_link_at(near.peer), interface)
        if near is None or far is None or far.peer != near.index:
            return None
        mtu = adjusted(far.mtu, before, after)
        if mtu is None:
            return far.mtu
        ends = [(host, [messages.set_mtu(near.index, mtu), *_no_link_local(mtu, near.index)]),
                (inside, [messages.set_mtu(far.index, mtu)])]
        for connection, batch in ends if mtu > far.mtu else reversed(ends):
            connection.run(batch, f"set the MTU of {interface} behind {host_interface}")
        if far.mtu < limits.MIN_MTU_V6 <= mtu:
            sysctl.prepare_container(far.name, ipv6=False)  # the kernel has just switched IPv6 on
            inside.run([_neighbour_times(far.index, version) for version in _families()], f"set up {interface}")
        return mtu


def shape(host_interface: str, interface: str, to_container: Limit, from_container: Limit, host: Netlink) -> None:
    """Limit the bandwidth of a container, from the thread's namespace."""
    near = _named(host, host_interface)
    with Netlink() as inside:
        far = _named(inside, interface)
        if near is None or far is None:
            raise EnvironmentFailure(f"cannot limit the bandwidth of {interface}: the interface is gone")
        if to_container.rate:
            limit(host, near.index, near.name, to_container)
        if from_container.rate:
            limit(inside, far.index, far.name, from_container)


def _present(cable: Cable, host: Netlink, inside: Netlink) -> Link | None:
    """Return the far end where this very cable is there already; clear away one that leads elsewhere."""
    near = _named(host, cable.host_interface)
    if near is None:
        return None
    request = cable.request
    if naming.owner_of(near.name, near.alias) not in (None, (request.container, request.interface)):
        raise EnvironmentFailure(f"cannot {cable}: {near.name} belongs to {near.alias}; detach that first")
    far = _named(inside, request.interface)
    if far is not None and far.peer == near.index and near.peer == far.index:
        if not _is_settled(cable, near):
            host.run([messages.set_master(near.index, cable.bridge), *_near_end(cable, near.index)], str(cable))
        return far
    remove(near.name, host)
    return None


def _far_end(cable: Cable, inside: Netlink) -> Link:
    link = _named(inside, cable.request.interface)
    if link is None:
        raise EnvironmentFailure(f"cannot {cable}: the interface vanished; is the container stopping?")
    return link


def _create(cable: Cable, host: Netlink) -> None:
    """Make the cable and plug it in, in one round; a refusal leaves nothing."""
    request = cable.request
    create = messages.create_veth(cable.host_interface, cable.host_mac, master=cable.bridge, mtu=cable.mtu,
                                  peer=request.interface, peer_mac=cable.mac, namespace=cable.namespace)
    refusals = host.attempt([create, *_near_end(cable, 0)])
    if not refusals:
        return
    first = refusals[0]
    if first.index:
        remove(cable.host_interface, host)
    elif first.code == errno.EEXIST:
        raise LocalError(f"cannot {cable}: the container has another interface of that name; choose another name")
    raise NetlinkFailure(str(cable), first.code, first.reason)


def _is_settled(cable: Cable, near: Link) -> bool:
    words = naming.alias(cable.request.container, cable.request.interface)
    options = port_options(hairpin=cable.request.hairpin)
    return (near.is_up and near.master == cable.bridge and near.alias == words
            and near.address_mode in (None, IN6_ADDR_GEN_MODE_NONE) and options.items() <= near.port.items())


def _near_end(cable: Cable, index: int) -> list[Message]:
    words = naming.alias(cable.request.container, cable.request.interface)
    return near_end_options(cable.mtu, index, cable.host_interface, alias=words, hairpin=cable.request.hairpin)


def port_options(*, hairpin: bool) -> dict[int, bytes]:
    """Return what a container's port of the bridge is like."""
    return {IFLA_BRPORT_MODE: bytes([hairpin]), IFLA_BRPORT_LEARNING: b"\1"}


def near_end_options(mtu: int, index: int, name: str = "", *, alias: str | None = None,
                     hairpin: bool = True) -> list[Message]:
    """Return the messages that make a host's end, known by index or by name, a working port of the bridge."""
    return [messages.set_port(index, port_options(hairpin=hairpin), name=name, alias=alias),
            *_no_link_local(mtu, index, name), messages.set_up(index, name)]


def _no_link_local(mtu: int, index: int, name: str = "") -> list[Message]:
    """Return the message that keeps a device without an IPv6 address; where IPv6 is off, as on small ones, none."""
    return [messages.set_no_link_local(index, name)] if mtu >= limits.MIN_MTU_V6 and sysctl.has_ipv6() else []


def _complete(cable: Cable, inside: Netlink, link: Link, later: ExitStack, addresses: Sequence[IPInterface] = (),
              routes: Sequence[Route] = ()) -> tuple[int, Attachment]:
    """Add what the far end, which has these addresses and routes, lacks; make it known.

    What else it has the container gave itself, and is not vouched for.
    """
    missing = plan_inside(cable.request, addresses, routes)
    _quieten(cable, [*addresses, *missing.addresses])
    left_out = _configure(cable, inside, link, missing)
    mac = messages.mac_octets(link.mac)
    announce(link.name, [announcement(mac, item.packed) for item in missing.addresses], later)
    return link.peer, Attachment(
        container=cable.request.container, interface=cable.request.interface, mac=cable.mac,
        addresses=in_order(cable.request.addresses),
        mtu=link.mtu, host_interface=cable.host_interface, left_out=left_out,
    )


def _quieten(cable: Cable, addresses: Sequence[IPInterface]) -> None:
    try:
        sysctl.prepare_container(cable.request.interface, ipv6=any(item.version == 6 for item in addresses))
    except OSError as exc:
        raise EnvironmentFailure(f"cannot {cable}: cannot write {exc.filename}: {exc.strerror}; "
                                 "mount /proc/sys writable for the router") from exc


def _configure(cable: Cable, inside: Netlink, link: Link, missing: Inside) -> tuple[Route, ...]:
    """Bring the interface up with what it lacks, return the routes left out; on failure, take the addresses back.

    Of several interfaces, the first one carries the container's multicast and whatever else is optional.
    """
    optional = {_route_step(route): route for route in (Route(MULTICAST), *cable.request.optional_routes)}
    left_out: list[Route] = []
    steps: list[tuple[str, Message]] = [("bring up lo", messages.set_up(LOOPBACK)),
                                        (f"bring up {link.name}", messages.set_up_container(link.index))]
    steps += [("forget neighbours that moved", _neighbour_times(link.index, version))
              for version in _families(link.mtu)]
    steps += [(f"add address {item}", messages.add_address(link.index, item)) for item in missing.addresses]
    steps += [(_route_step(route), messages.add_route(link.index, route.destination, route.gateway))
              for route in missing.routes]
    for refusal in inside.attempt([message for _, message in steps]):
        step = steps[refusal.index][0]
        if refusal.code == errno.EEXIST and step in optional:
            left_out.append(optional[step])
            continue
        inside.attempt([messages.delete_address(link.index, item) for item in missing.addresses])
        raise NetlinkFailure(f"{cable}: {step}", refusal.code, refusal.reason)
    return tuple(left_out)


def _neighbour_times(index: int, version: int) -> Message:
    return messages.set_neighbour_times(
        index, version, reachable_s=limits.NEIGHBOUR_REACHABLE_S, first_probe_s=limits.NEIGHBOUR_FIRST_PROBE_S,
        unicast_probes=limits.NEIGHBOUR_UNICAST_PROBES)


def _families(mtu: int = limits.MIN_MTU_V6) -> tuple[int, ...]:
    """Return the families that this kernel speaks over an interface of that MTU."""
    return (4, 6) if mtu >= limits.MIN_MTU_V6 and sysctl.has_ipv6() else (4,)


def _route_step(route: Route) -> str:
    return f"add a route to {route.destination}"


def _named(connection: Netlink, name: str) -> Link | None:
    return _found(connection, messages.get_link(name), name)


def _found(connection: Netlink, question: Message, subject: str) -> Link | None:
    try:
        return read_link(connection.query(question, f"look up {subject}"))
    except NetlinkFailure as exc:
        if exc.code == errno.ENODEV:
            return None
        raise


def _addresses(connection: Netlink, index: int) -> list[IPInterface]:
    """Return the addresses of a link that are not of the link alone."""
    found = map(read_address, connection.dump(messages.dump_addresses(index), "list addresses"))
    return [item.interface for item in found if item is not None and not item.interface.ip.is_link_local]


def _routes(connection: Netlink, index: int) -> list[Route]:
    """Return the routes through a link."""
    found = [read_route(body) for version in _families()
             for body in connection.dump(messages.dump_routes(version), "list routes")]
    return [Route(item.destination, item.gateway) for item in found
            if item is not None and item.device == index and item.table == RT_TABLE_MAIN]
