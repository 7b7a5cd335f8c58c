"""Read what the kernel answers into values of our own. Pure; raises `GarbledNetlink` only."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from struct import Struct

from weave.addresses import IPAddress, IPInterface, IPNetwork
from weave.netlink.codec import (
    NOTHING,
    GarbledNetlink,
    read_attributes,
    read_fixed,
    read_list,
    read_mac,
    read_text,
    read_u32,
)
from weave.netlink.constants import (
    AF_INET,
    AF_INET6,
    ETH_P_IP,
    ETH_P_IPV6,
    IFA_ADDRESS,
    IFA_LOCAL,
    IFF_LOOPBACK,
    IFF_UP,
    IFLA_ADDRESS,
    IFLA_AF_SPEC,
    IFLA_IFALIAS,
    IFLA_IFNAME,
    IFLA_INET6_ADDR_GEN_MODE,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_INFO_SLAVE_DATA,
    IFLA_LINK,
    IFLA_LINK_NETNSID,
    IFLA_LINKINFO,
    IFLA_MASTER,
    IFLA_MTU,
    MDBA_MDB,
    MDBA_ROUTER,
    NDA_DST,
    NDA_LLADDR,
    NDA_MASTER,
    NDA_PROTOCOL,
    NETNSA_NSID,
    RTA_DST,
    RTA_GATEWAY,
    RTA_METRICS,
    RTA_OIF,
    RTA_TABLE,
    RTAX_MTU,
)
from weave.netlink.messages import ADDRESS, BRIDGE_PORT, LINK, NEIGHBOUR, ROUTE

NSID_HEADER_BYTES = 4
_U32 = Struct("=I")
_MEMBER_BYTES = 28
UNKNOWN_NAMESPACE = 0xFFFFFFFF
"""NETNSA_NSID_NOT_ASSIGNED, and what a link reports whose other end is in a namespace we cannot name."""


@dataclass(frozen=True, slots=True)
class Link:
    """One network device."""

    index: int
    name: str
    kind: str
    is_up: bool
    is_loopback: bool
    mtu: int
    mac: str
    master: int
    """Index of the bridge whose port it is, or 0."""
    peer: int
    """Index of the other end of a veth, in its own namespace, or 0."""
    peer_namespace: int | None
    """Id of the namespace of the other end; None where it is our own or has none."""
    alias: str
    address_mode: int | None
    """How it makes IPv6 addresses; None where IPv6 is off."""
    data: Mapping[int, bytes]
    """Options of its kind, raw."""
    port: Mapping[int, bytes]
    """Options as a bridge port, raw."""


@dataclass(frozen=True, slots=True)
class Address:
    """One address of a device."""

    index: int
    interface: IPInterface
    scope: int


@dataclass(frozen=True, slots=True)
class Forward:
    """One forwarding entry: of a VXLAN device itself (`vtep` set) or of the bridge."""

    device: int
    mac: str
    vtep: IPAddress | None
    in_bridge: bool
    flags: int
    state: int


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An address and the MAC it is bound to."""

    device: int
    address: IPAddress
    mac: str
    state: int
    protocol: int


@dataclass(frozen=True, slots=True)
class Route:
    """One route."""

    table: int
    destination: IPNetwork
    gateway: IPAddress | None
    device: int
    mtu: int
    """From its metrics, or 0."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Multicast groups of one bridge."""

    bridge: int
    members: tuple[tuple[int, IPAddress], ...]
    """Ports, or the bridge itself, with the groups that there are members of."""
    routers: tuple[int, ...]
    """Ports behind which there is a router of multicast, or that are said to have one."""


def read_link(body: bytes) -> Link:
    """Read an RTM_NEWLINK."""
    _, _, index, flags, _ = read_fixed(LINK, body)
    found = read_attributes(body, LINK.size)
    info = _nest(found.get(IFLA_LINKINFO))
    namespace = found.get(IFLA_LINK_NETNSID)
    return Link(
        index=index, name=read_text(found.get(IFLA_IFNAME)), kind=read_text(info.get(IFLA_INFO_KIND)),
        is_up=bool(flags & IFF_UP), is_loopback=bool(flags & IFF_LOOPBACK), mtu=read_u32(found.get(IFLA_MTU)),
        mac=read_mac(found.get(IFLA_ADDRESS)), master=read_u32(found.get(IFLA_MASTER)),
        peer=read_u32(found.get(IFLA_LINK)), peer_namespace=None if namespace is None else read_u32(namespace),
        alias=read_text(found.get(IFLA_IFALIAS)), address_mode=_address_mode(found.get(IFLA_AF_SPEC)),
        data=_nest(info.get(IFLA_INFO_DATA)), port=_nest(info.get(IFLA_INFO_SLAVE_DATA)),
    )


def read_address(body: bytes) -> Address | None:
    """Read an RTM_NEWADDR; None for a family we do not know."""
    family, prefix, _, scope, index = read_fixed(ADDRESS, body)
    found = read_attributes(body, ADDRESS.size)
    ip = _ip(family, found.get(IFA_LOCAL, found.get(IFA_ADDRESS)))
    if ip is None:
        return None
    try:
        return Address(index, _interface(ip, prefix), scope)
    except ValueError as exc:
        raise GarbledNetlink(f"address {ip} with a prefix of {prefix} bits") from exc


def read_forward(body: bytes) -> Forward:
    """Read an RTM_NEWNEIGH of the bridge family."""
    _, device, state, flags, _ = read_fixed(NEIGHBOUR, body)
    found = read_attributes(body, NEIGHBOUR.size)
    vtep = found.get(NDA_DST)
    family = AF_INET if vtep is not None and len(vtep) == 4 else AF_INET6
    return Forward(device, read_mac(found.get(NDA_LLADDR)), _ip(family, vtep), NDA_MASTER in found, flags, state)


def read_neighbour(body: bytes) -> Neighbour | None:
    """Read an RTM_NEWNEIGH of an IP family; None for another family."""
    family, device, state, _, _ = read_fixed(NEIGHBOUR, body)
    found = read_attributes(body, NEIGHBOUR.size)
    address = _ip(family, found.get(NDA_DST))
    protocol = found.get(NDA_PROTOCOL, b"\0")
    if address is None or not protocol:
        return None
    return Neighbour(device, address, read_mac(found.get(NDA_LLADDR)), state, protocol[0])


def read_route(body: bytes) -> Route | None:
    """Read an RTM_NEWROUTE; None for a family we do not know."""
    family, prefix, _, _, table, _, _, _, _ = read_fixed(ROUTE, body)
    found = read_attributes(body, ROUTE.size)
    zero = bytes(4 if family == AF_INET else 16)
    start = _ip(family, found.get(RTA_DST, zero))
    if start is None:
        return None
    try:
        destination = _network(start, prefix)
    except ValueError as exc:
        raise GarbledNetlink(f"route to {start} with a prefix of {prefix} bits") from exc
    return Route(read_u32(found.get(RTA_TABLE), table), destination, _ip(family, found.get(RTA_GATEWAY)),
                 read_u32(found.get(RTA_OIF)), read_u32(_nest(found.get(RTA_METRICS)).get(RTAX_MTU)))


def read_groups(body: bytes) -> Groups:
    """Read a piece of the answer to RTM_GETMDB, or a notice; groups that are no IP groups are left out."""
    _, bridge = read_fixed(BRIDGE_PORT, body)
    found = read_attributes(body, BRIDGE_PORT.size)
    entries = [item for group in read_list(found.get(MDBA_MDB, b"")) for item in read_list(group)]
    members = [(port, group) for port, group in map(_member, entries) if group is not None]
    routers = [read_fixed(_U32, item)[0] for item in read_list(found.get(MDBA_ROUTER, b""))]
    return Groups(bridge, tuple(members), tuple(routers))


def _member(entry: bytes) -> tuple[int, IPAddress | None]:
    """Read a `br_mdb_entry`: port u32, state, flags, VLAN u16, address (16 octets), protocol in network order."""
    (port,) = read_fixed(_U32, entry)
    if len(entry) < _MEMBER_BYTES:
        raise GarbledNetlink(f"member of a multicast group in {len(entry)} octets where {_MEMBER_BYTES} are due")
    protocol = int.from_bytes(entry[24:26])
    if protocol == ETH_P_IP:
        return port, IPv4Address(entry[8:12])
    return port, IPv6Address(entry[8:24]) if protocol == ETH_P_IPV6 else None


def read_namespace_id(body: bytes) -> int | None:
    """Read the answer to RTM_GETNSID; None where the namespace has no id here."""
    number = read_u32(read_attributes(body, NSID_HEADER_BYTES).get(NETNSA_NSID), UNKNOWN_NAMESPACE)
    return None if number == UNKNOWN_NAMESPACE else number


def _nest(payload: bytes | None) -> Mapping[int, bytes]:
    return NOTHING if payload is None else read_attributes(payload)


def _address_mode(spec: bytes | None) -> int | None:
    mode = _nest(_nest(spec).get(AF_INET6)).get(IFLA_INET6_ADDR_GEN_MODE)
    return mode[0] if mode else None


def _ip(family: int, packed: bytes | None) -> IPAddress | None:
    if packed is None:
        return None
    if family == AF_INET and len(packed) == 4:
        return IPv4Address(packed)
    if family == AF_INET6 and len(packed) == 16:
        return IPv6Address(packed)
    return None


def _interface(ip: IPAddress, prefix: int) -> IPInterface:
    return IPv4Interface((ip, prefix)) if isinstance(ip, IPv4Address) else IPv6Interface((ip, prefix))


def _network(start: IPAddress, prefix: int) -> IPNetwork:
    return IPv4Network((start, prefix)) if isinstance(start, IPv4Address) else IPv6Network((start, prefix))
