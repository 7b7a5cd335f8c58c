"""Which MAC and addresses may come from which container's port, as a table of nftables and its elements. Pure.

    table bridge weave_ports
        macs      port . MAC            a port is in here once with its own MAC: another one is dropped
        sources4  port . IPv4 address   what the port may send from, in IPv4 and as the sender of ARP
        sources6  port . IPv6 address
        targets6  the same          what the port may say in neighbour advertisements that it is at (RFC 4861)

A port that is in no set sends nothing but what every host may before it has an address: so a container is admitted
before its cable is made. What has a VLAN tag is dropped; what else is not IP, ARP or IPv6 is judged by its MAC alone.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from weave.net.model import Attachment, Mac, Packed
from weave.net.naming import HOST_PREFIX
from weave.netlink.messages import mac_octets
from weave.netlink.nftables import NFPROTO_BRIDGE, Element

FAMILY = "bridge"
TABLE = "weave_ports"
MACS, SOURCES4, SOURCES6, TARGETS6 = "macs", "sources4", "sources6", "targets6"
GUARD = "guard"
IPV4_OCTETS = 4
NAME_OCTETS = 16
"""The name of an interface as nftables keeps it, filled up with zeros."""
_MAC_PADDING = bytes(2)
"""Each part of a key fills up to four octets."""
_TAGS = "{ 0x8100, 0x88a8 }"
"""802.1Q and 802.1ad: a kernel that gets a tag of VLAN 0 takes it off and reads on. It knows no other type of tag."""
_ICMPV6, _ADVERTISEMENT = 58, 136
"""By numbers: `nft` finds names of protocols in /etc/protocols, which an image need not have."""

_RULES = (
    ("of no container", f'iifname != "{HOST_PREFIX}*" accept'),
    ("MAC of another", f"iifname . ether saddr != @{MACS} counter drop"),
    ("tagged, so that what is inside is not seen", f"ether type {_TAGS} counter drop"),
    ("asks whether an address is free (RFC 5227)", "ether type arp arp saddr ip 0.0.0.0 accept"),
    ("ARP for an address of another", f"ether type arp iifname . arp saddr ip != @{SOURCES4} counter drop"),
    ("has no IPv4 address yet", "ether type ip ip saddr 0.0.0.0 accept"),
    ("IPv4 address of another", f"ether type ip iifname . ip saddr != @{SOURCES4} counter drop"),
    ("not IPv6", "ether type != ip6 accept"),
    ("IPv6 address of another, and not of the link alone",
     f"ip6 saddr != {{ ::, fe80::/10 }} iifname . ip6 saddr != @{SOURCES6} counter drop"),
    ("not ICMPv6", f"meta l4proto != {_ICMPV6} accept"),
    ("a fragment of what began elsewhere", "frag frag-off != 0 accept"),
    ("no advertisement", f"icmpv6 type != {_ADVERTISEMENT} accept"),
    ("an advertisement in the open", f"ip6 nexthdr {_ICMPV6} icmpv6 type {_ADVERTISEMENT} jump advertised"),
    ("advertises an address of another, or may do so unseen", "counter drop"),
)
"""An advertisement behind further headers is dropped, and so is a fragment that ends before it can be seen to be none.
Receiving kernels read on behind most headers. Advertisements in fragments they do not take (RFC 6980), but the kernel
of a host that filters bridges puts fragments together on the way."""
_ADVERTISED = (
    ("of the link alone", "@th,64,16 & 0xffc0 == 0xfe80 accept"),
    ("what it has itself", f"iifname . @th,64,128 @{TARGETS6} accept"),
)
"""In a chain of its own, where no `nft` sees that this is a field of ICMPv6: newer ones would list it by the name that
they have for it, as an address, and not take back what they list."""
_UNREAD = (("whatever it says, to this version of nft", "accept"),)
_TYPES = {MACS: "ether_addr", SOURCES4: "ipv4_addr", SOURCES6: "ipv6_addr", TARGETS6: "ipv6_addr"}
_READS_TARGETS = (1, 0, 3)
"""The first version of `nft` that has sets of what has no name (@th,64,128)."""
_PRIORITY = -300
"""Before the bridge forwards anything; the host's own firewall looks at bridged packets at -200."""


@dataclass(frozen=True, slots=True)
class Port:
    """A container's port of the bridge, and what it may send from."""

    name: str
    mac: Mac
    addresses: frozenset[Packed]


def port_of(attachment: Attachment) -> Port:
    """Return the port of an attachment."""
    return Port(attachment.host_interface, Mac(mac_octets(attachment.mac)),
                frozenset(Packed(item.packed) for item in attachment.addresses))


def elements(port: Port) -> list[Element]:
    """Return the elements that admit a port, in a stable order."""
    name = port.name.encode().ljust(NAME_OCTETS, b"\0")
    packed = sorted(port.addresses, key=lambda address: (len(address), address))
    six = [address for address in packed if len(address) != IPV4_OCTETS]
    found = [_element(MACS, name + port.mac + _MAC_PADDING)]
    found += [_element(SOURCES4, name + address) for address in packed if len(address) == IPV4_OCTETS]
    return found + [_element(kind, name + address) for kind in (SOURCES6, TARGETS6) for address in six]


def _element(name: str, key: bytes) -> Element:
    return Element(NFPROTO_BRIDGE, TABLE, name, key)


def reads_targets(version: str) -> bool:
    """Say whether a `nft` of this version, in its own words, can look at what is advertised."""
    found = re.search(r"v(\d+)\.(\d+)\.(\d+)", version)
    return found is None or tuple(map(int, found.groups())) >= _READS_TARGETS


def replacement(ports: Iterable[Port], *, targets: bool = True) -> str:
    """Return the transaction, as text for `nft`, that puts the table with these ports in place of what is there.

    Without `targets`, advertisements are not looked at.
    """
    words: dict[str, list[str]] = {name: [] for name in _TYPES}
    for element in sorted(element for port in ports for element in elements(port)):
        port_name, value = _parts(element)
        if element.name == TARGETS6 and targets:
            value = f"0x{element.key[NAME_OCTETS:].hex()}"
        words[element.name].append(f'"{port_name}" . {value}')
    lines = [f"table {FAMILY} {TABLE}", f"delete table {FAMILY} {TABLE}", f"table {FAMILY} {TABLE} {{"]
    for name, kind in _TYPES.items():
        described = "typeof iifname . @th,64,128" if name == TARGETS6 and targets else f"type ifname . {kind}"
        listed = f"elements = {{ {', '.join(words[name])} }}; " if words[name] else ""
        lines.append(f"set {name} {{ {described}; {listed}}}")
    for chain, rules in _chains(targets=targets).items():
        hook = f"type filter hook prerouting priority {_PRIORITY}; policy accept;" if chain == GUARD else ""
        lines += [f"chain {chain} {{ {hook}", *(f'{rule} comment "{comment}"' for comment, rule in rules), "}"]
    return "\n".join([*lines, "}", ""])


def differs(listing: Mapping[str, object], ports: Iterable[Port], *, targets: bool = True) -> bool:
    """Say whether what `nft -j list table` shows is not the table that guards these ports."""
    wanted = {(element.name, *_parts(element)) for port in ports for element in elements(port)}
    items = listing.get("nftables")
    try:
        assert isinstance(items, list)
        rules = [(item["rule"]["chain"], item["rule"].get("comment", "")) for item in items if "rule" in item]
        shown = {(item["set"]["name"], element["concat"][0], _shown(item["set"]["name"], element["concat"][1]))
                 for item in items if "set" in item for element in item["set"].get("elem", ())}
    except (AssertionError, KeyError, IndexError, TypeError, ValueError):
        return True
    expected = [(chain, comment) for chain, said in _chains(targets=targets).items() for comment, _ in said]
    return shown != wanted or sorted(rules, key=_chain_of) != sorted(expected, key=_chain_of)


def _chain_of(rule: tuple[str, str]) -> str:
    return rule[0]


def _chains(*, targets: bool) -> Mapping[str, tuple[tuple[str, str], ...]]:
    return {"advertised": _ADVERTISED if targets else _UNREAD, GUARD: _RULES}


def _shown(name: str, value: str | int) -> str:
    """Return an element as we write it: what has no name, `nft` shows as a number, in words or in hexadecimal ones."""
    if name != TARGETS6 or (isinstance(value, str) and ":" in value):
        return str(value)
    return str(IPv6Address(value if isinstance(value, int) else int(value, 0)))


def dropped(listing: Mapping[str, object]) -> int:
    """Return how many packets the rules of a listing dropped."""
    items = listing.get("nftables")
    rules = [item["rule"] for item in items if "rule" in item] if isinstance(items, list) else []
    return sum(part["counter"]["packets"] for rule in rules for part in rule["expr"] if "counter" in part)


def _parts(element: Element) -> tuple[str, str]:
    port, rest = element.key[:NAME_OCTETS].rstrip(b"\0").decode(), element.key[NAME_OCTETS:]
    return port, rest[:6].hex(":") if element.name == MACS else str(ip_address(rest))
