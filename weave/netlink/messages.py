"""Build the requests we send. Pure.

What is built once a container or once a start goes through the generic packers of `codec`; forwarding and neighbour
entries, which come by the thousand, are packed by one `Struct` each.
"""

from collections.abc import Mapping
from struct import Struct

from weave.addresses import IPAddress, IPInterface, IPNetwork
from weave.netlink import codec
from weave.netlink.codec import Message
from weave.netlink.constants import (
    AF_BRIDGE,
    AF_INET,
    AF_INET6,
    AF_UNSPEC,
    IFA_ADDRESS,
    IFA_F_NODAD,
    IFA_FLAGS,
    IFA_LOCAL,
    IFA_TARGET_NETNSID,
    IFF_UP,
    IFLA_ADDRESS,
    IFLA_AF_SPEC,
    IFLA_EXT_MASK,
    IFLA_IFALIAS,
    IFLA_IFNAME,
    IFLA_INET6_ADDR_GEN_MODE,
    IFLA_INET_CONF,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_INFO_SLAVE_DATA,
    IFLA_INFO_SLAVE_KIND,
    IFLA_LINKINFO,
    IFLA_MASTER,
    IFLA_MTU,
    IFLA_NET_NS_FD,
    IFLA_NUM_RX_QUEUES,
    IFLA_NUM_TX_QUEUES,
    IFLA_TARGET_NETNSID,
    IN6_ADDR_GEN_MODE_NONE,
    IPV4_DEVCONF_PROMOTE_SECONDARIES,
    NDA_DST,
    NDA_LLADDR,
    NDA_PROTOCOL,
    NDA_VNI,
    NDTA_NAME,
    NDTA_PARMS,
    NDTPA_BASE_REACHABLE_TIME,
    NDTPA_DELAY_PROBE_TIME,
    NDTPA_IFINDEX,
    NDTPA_UCAST_PROBES,
    NETNSA_FD,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NTF_EXT_LEARNED,
    NTF_MASTER,
    NTF_SELF,
    NUD_NOARP,
    NUD_PERMANENT,
    RT_SCOPE_LINK,
    RT_SCOPE_UNIVERSE,
    RT_TABLE_MAIN,
    RTA_DST,
    RTA_GATEWAY,
    RTA_OIF,
    RTEXT_FILTER_SKIP_STATS,
    RTM_DELADDR,
    RTM_DELLINK,
    RTM_DELNEIGH,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETMDB,
    RTM_GETNEIGH,
    RTM_GETNSID,
    RTM_GETROUTE,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWROUTE,
    RTM_SETNEIGHTBL,
    RTN_UNICAST,
    RTPROT_STATIC,
    VETH_INFO_PEER,
)

LINK = Struct("=BxHiII")
"""ifinfomsg: family, device type, index, flags, which flags to change."""
NEIGHBOUR = Struct("=B3xiHBB")
"""ndmsg: family, index, state, flags, type."""
ADDRESS = Struct("=BBBBi")
"""ifaddrmsg: family, prefix length, flags, scope, index."""
ROUTE = Struct("=BBBBBBBBI")
"""rtmsg: family, destination and source length, tos, table, protocol, scope, type, flags."""
IPV4_OCTETS, IPV6_OCTETS = 4, 16
BRIDGE_PORT = Struct("=B3xI")
"""br_port_msg: family, index of the bridge."""
_NSID = Struct("=B3x")
_FORWARD = {IPV4_OCTETS: Struct("=B3xiHBB HH6s2x HH4s"), IPV6_OCTETS: Struct("=B3xiHBB HH6s2x HH16s")}
_PORT = Struct("=B3xiHBB HH6s2x")
_NEIGHBOUR = {
    IPV4_OCTETS: (AF_INET, Struct("=B3xiHBB HH4s HH6s2x HHB3x")),
    IPV6_OCTETS: (AF_INET6, Struct("=B3xiHBB HH16s HH6s2x HHB3x")),
}
_FAMILY = {4: AF_INET, 6: AF_INET6}
PROTOCOL = 0x77
"""Marks the neighbours we put on the bridge (`proto 119` in `ip neigh`)."""
_SKIP_STATISTICS = codec.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS)
_ONE_QUEUE = codec.u32(IFLA_NUM_TX_QUEUES, 1) + codec.u32(IFLA_NUM_RX_QUEUES, 1)
_NO_NETWORK = codec.u32(NDA_VNI, 0xFFFFFF)
_NO_LINK_LOCAL = codec.nested(IFLA_AF_SPEC, codec.nested(AF_INET6, codec.u8(IFLA_INET6_ADDR_GEN_MODE,
                                                                            IN6_ADDR_GEN_MODE_NONE)))
_KEEP_SECONDARIES = codec.nested(IFLA_AF_SPEC, codec.nested(AF_INET, codec.nested(
    IFLA_INET_CONF, codec.u32(IPV4_DEVCONF_PROMOTE_SECONDARIES, 1))))
_TABLE_OF_NEIGHBOURS = {4: (AF_INET, "arp_cache"), 6: (AF_INET6, "ndisc_cache")}
_TABLE = Struct("=B3x")


def mac_octets(mac: str) -> bytes:
    """Return the six octets of a MAC."""
    return bytes.fromhex(mac.replace(":", ""))


# Links

def get_link(name: str) -> Message:
    """Ask for one link by name."""
    return Message(RTM_GETLINK, 0, LINK.pack(AF_UNSPEC, 0, 0, 0, 0) + codec.text(IFLA_IFNAME, name) + _SKIP_STATISTICS)


def get_link_at(index: int, namespace: int | None = None) -> Message:
    """Ask for one link by index, in another namespace where we know it by an id."""
    where = b"" if namespace is None else codec.u32(IFLA_TARGET_NETNSID, namespace)
    return Message(RTM_GETLINK, 0, LINK.pack(AF_UNSPEC, 0, index, 0, 0) + where + _SKIP_STATISTICS)


def dump_links(master: int | None = None) -> Message:
    """Ask for all links, or for the ports of one bridge."""
    chosen = b"" if master is None else codec.u32(IFLA_MASTER, master)
    return Message(RTM_GETLINK, 0, LINK.pack(AF_UNSPEC, 0, 0, 0, 0) + chosen + _SKIP_STATISTICS)


def create_link(name: str, kind: str, mac: str, data: Mapping[int, bytes]) -> Message:
    """Create a device, down."""
    info = codec.nested(IFLA_LINKINFO, codec.attribute(IFLA_INFO_KIND, kind.encode()),
                        codec.mapping(IFLA_INFO_DATA, data))
    body = LINK.pack(AF_UNSPEC, 0, 0, 0, 0) + codec.text(IFLA_IFNAME, name)
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body + codec.attribute(IFLA_ADDRESS, mac_octets(mac)) + info)


def create_veth(name: str, mac: str, *, master: int, mtu: int, peer: str, peer_mac: str, namespace: int) -> Message:
    """Create a veth pair, one end a port of `master`, the other born inside the namespace of that descriptor.

    Each end has one queue: the kernel's default is one for each processor, which a veth has no use for unless XDP runs
    on it. With two processors that is a third of the time this takes; it grows with their number.
    """
    inside = (LINK.pack(AF_UNSPEC, 0, 0, 0, 0) + codec.text(IFLA_IFNAME, peer) + codec.u32(IFLA_MTU, mtu)
              + codec.attribute(IFLA_ADDRESS, mac_octets(peer_mac)) + codec.u32(IFLA_NET_NS_FD, namespace)
              + _ONE_QUEUE)
    info = codec.nested(IFLA_LINKINFO, codec.attribute(IFLA_INFO_KIND, b"veth"),
                        codec.nested(IFLA_INFO_DATA, codec.nested(VETH_INFO_PEER, inside)))
    body = (LINK.pack(AF_UNSPEC, 0, 0, 0, 0) + codec.text(IFLA_IFNAME, name) + codec.u32(IFLA_MTU, mtu)
            + codec.attribute(IFLA_ADDRESS, mac_octets(mac)) + codec.u32(IFLA_MASTER, master) + _ONE_QUEUE)
    return Message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body + info)


def _change(index: int, name: str, *attributes: bytes, up: bool = False) -> Message:
    which = b"" if index else codec.text(IFLA_IFNAME, name)
    flags = IFF_UP if up else 0
    return Message(RTM_NEWLINK, 0, LINK.pack(AF_UNSPEC, 0, index, flags, flags) + which + b"".join(attributes))


def set_up(index: int, name: str = "") -> Message:
    """Bring a link up, known by index or by name."""
    return _change(index, name, up=True)


def set_mtu(index: int, mtu: int) -> Message:
    """Set the MTU."""
    return _change(index, "", codec.u32(IFLA_MTU, mtu))


def set_mac(index: int, mac: str) -> Message:
    """Set the MAC."""
    return _change(index, "", codec.attribute(IFLA_ADDRESS, mac_octets(mac)))


def set_master(index: int, master: int) -> Message:
    """Make a link a port of a bridge."""
    return _change(index, "", codec.u32(IFLA_MASTER, master))


def set_data(index: int, kind: str, data: Mapping[int, bytes]) -> Message:
    """Change options of a device."""
    return _change(index, "", codec.nested(IFLA_LINKINFO, codec.attribute(IFLA_INFO_KIND, kind.encode()),
                                           codec.mapping(IFLA_INFO_DATA, data)))


def set_port(index: int, options: Mapping[int, bytes], *, name: str = "", alias: str | None = None) -> Message:
    """Set options of a bridge port, and a word for people beside them."""
    words = b"" if alias is None else codec.text(IFLA_IFALIAS, alias)
    return _change(index, name, words, codec.nested(
        IFLA_LINKINFO, codec.attribute(IFLA_INFO_SLAVE_KIND, b"bridge"), codec.mapping(IFLA_INFO_SLAVE_DATA, options)))


def set_up_container(index: int) -> Message:
    """Bring a container's end up; of several addresses of one subnet it keeps the others when the first is removed."""
    return _change(index, "", _KEEP_SECONDARIES, up=True)


def set_no_link_local(index: int, name: str = "") -> Message:
    """Keep the kernel from giving a link an IPv6 address of its own: it is a cable's end, not a host."""
    return _change(index, name, _NO_LINK_LOCAL)


def delete_link(index: int) -> Message:
    """Remove a device; a veth takes its other end along."""
    return Message(RTM_DELLINK, 0, LINK.pack(AF_UNSPEC, 0, index, 0, 0))


def get_namespace_id(descriptor: int) -> Message:
    """Ask by which id our namespace knows the one behind a descriptor."""
    return Message(RTM_GETNSID, 0, _NSID.pack(AF_UNSPEC) + codec.u32(NETNSA_FD, descriptor))


# Addresses and routes

def dump_addresses(index: int = 0, namespace: int | None = None) -> Message:
    """Ask for the addresses of all links or of one, in another namespace where we know it by an id."""
    where = b"" if namespace is None else codec.u32(IFA_TARGET_NETNSID, namespace)
    return Message(RTM_GETADDR, 0, ADDRESS.pack(AF_UNSPEC, 0, 0, 0, index) + where)


def _address(kind: int, flags: int, index: int, interface: IPInterface) -> Message:
    packed = interface.ip.packed
    body = (ADDRESS.pack(_FAMILY[interface.version], interface.network.prefixlen, 0, RT_SCOPE_UNIVERSE, index)
            + codec.attribute(IFA_LOCAL, packed) + codec.attribute(IFA_ADDRESS, packed))
    if interface.version == 6:
        body += codec.u32(IFA_FLAGS, IFA_F_NODAD)
    return Message(kind, flags, body)


def add_address(index: int, interface: IPInterface) -> Message:
    """Give a link an address, without duplicate detection: the allocator gives none twice."""
    return _address(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, index, interface)


def delete_address(index: int, interface: IPInterface) -> Message:
    """Take an address from a link."""
    return _address(RTM_DELADDR, 0, index, interface)


def dump_routes(version: int) -> Message:
    """Ask for the routes of one family."""
    return Message(RTM_GETROUTE, 0, ROUTE.pack(_FAMILY[version], 0, 0, 0, 0, 0, 0, 0, 0))


def add_route(index: int, destination: IPNetwork, gateway: IPAddress | None) -> Message:
    """Add a route to the main table; one to the same destination must not be there."""
    scope = RT_SCOPE_LINK if gateway is None else RT_SCOPE_UNIVERSE
    body = ROUTE.pack(_FAMILY[destination.version], destination.prefixlen, 0, 0, RT_TABLE_MAIN, RTPROT_STATIC, scope,
                      RTN_UNICAST, 0)
    if destination.prefixlen:
        body += codec.attribute(RTA_DST, destination.network_address.packed)
    if gateway is not None:
        body += codec.attribute(RTA_GATEWAY, gateway.packed)
    return Message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, body + codec.u32(RTA_OIF, index))


# Forwarding entries and neighbours, the hot ones

def dump_forwarding(device: int) -> Message:
    """Ask for the forwarding entries of one bridge port: its own, and the bridge's that point to it."""
    return Message(RTM_GETNEIGH, 0, NEIGHBOUR.pack(AF_BRIDGE, device, 0, 0, 0))


def dump_neighbours(version: int) -> Message:
    """Ask for all neighbours of one family."""
    return Message(RTM_GETNEIGH, 0, NEIGHBOUR.pack(_FAMILY[version], 0, 0, 0, 0))


def _tunnel(kind: int, flags: int, device: int, mac: bytes, vtep: bytes) -> Message:
    size = len(vtep)
    return Message(kind, flags, _FORWARD[size].pack(
        AF_BRIDGE, device, NUD_NOARP | NUD_PERMANENT, NTF_SELF, 0, 10, NDA_LLADDR, mac, 4 + size, NDA_DST, vtep))


def add_flood(device: int, mac: bytes, vtep: bytes) -> Message:
    """Send copies of frames for a MAC to one more address; those for a MAC of zeros are what the device floods."""
    return _tunnel(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_APPEND, device, mac, vtep)


def add_nowhere(device: int, mac: bytes, own: bytes) -> Message:
    """Send frames for a MAC nowhere: to this host (`own` is its loopback), for a network that it does not have.

    A VXLAN device drops these, counted among its errors; an entry without any address it does not take.
    """
    kind, flags, body = add_flood(device, mac, own)
    return Message(kind, flags, body + _NO_NETWORK)


def delete_nowhere(device: int, mac: bytes, own: bytes) -> Message:
    """Undo `add_nowhere`."""
    kind, flags, body = delete_tunnel(device, mac, own)
    return Message(kind, flags, body + _NO_NETWORK)


def dump_groups() -> Message:
    """Ask for the multicast groups, and the ports with routers of multicast, of all bridges."""
    return Message(RTM_GETMDB, 0, BRIDGE_PORT.pack(AF_BRIDGE, 0))


def set_tunnel(device: int, mac: bytes, vtep: bytes) -> Message:
    """Send frames for a MAC through a VXLAN device to this address, and to no other."""
    return _tunnel(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, device, mac, vtep)


def delete_tunnel(device: int, mac: bytes, vtep: bytes) -> Message:
    """Undo `add_flood` or `set_tunnel`."""
    return _tunnel(RTM_DELNEIGH, 0, device, mac, vtep)


def set_port_of(device: int, mac: bytes) -> Message:
    """Tell the bridge behind which of its ports a MAC is; the entry does not age."""
    return Message(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, _PORT.pack(
        AF_BRIDGE, device, NUD_NOARP, NTF_MASTER | NTF_EXT_LEARNED, 0, 10, NDA_LLADDR, mac))


def delete_port_of(device: int, mac: bytes) -> Message:
    """Undo `set_port_of`."""
    return Message(RTM_DELNEIGH, 0, _PORT.pack(AF_BRIDGE, device, NUD_NOARP, NTF_MASTER, 0, 10, NDA_LLADDR, mac))


def set_neighbour_times(device: int, version: int, *, reachable_s: int, first_probe_s: int,
                        unicast_probes: int) -> Message:
    """Say for how long a device believes in a neighbour of one family, and how soon and often it asks again."""
    family, name = _TABLE_OF_NEIGHBOURS[version]
    parameters = codec.nested(
        NDTA_PARMS, codec.u32(NDTPA_IFINDEX, device), codec.u64(NDTPA_BASE_REACHABLE_TIME, reachable_s * 1000),
        codec.u64(NDTPA_DELAY_PROBE_TIME, first_probe_s * 1000), codec.u32(NDTPA_UCAST_PROBES, unicast_probes))
    return Message(RTM_SETNEIGHTBL, 0, _TABLE.pack(family) + codec.text(NDTA_NAME, name) + parameters)


def _neighbour(kind: int, flags: int, device: int, address: bytes, mac: bytes) -> Message:
    size = len(address)
    family, layout = _NEIGHBOUR[size]
    return Message(kind, flags, layout.pack(
        family, device, NUD_PERMANENT, 0, 0, 4 + size, NDA_DST, address, 10, NDA_LLADDR, mac,
        5, NDA_PROTOCOL, PROTOCOL))


def set_neighbour(device: int, address: bytes, mac: bytes) -> Message:
    """Bind an address to a MAC on the bridge."""
    return _neighbour(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, device, address, mac)


def delete_neighbour(device: int, address: bytes, mac: bytes) -> Message:
    """Undo `set_neighbour`."""
    return _neighbour(RTM_DELNEIGH, 0, device, address, mac)
