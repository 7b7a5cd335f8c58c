"""Which MAC and addresses may come from which container's port, as a table of nftables and its elements. Pure.

    table bridge weave_ports
        macs      port . MAC            a port is in here once with its own MAC: another one is dropped
        sources4  port . IPv4 address   what the port may send from, in IPv4 and as the sender of ARP
        sources6  port . IPv6 address

A port that is in no set sends nothing but what every host may before it has an address: so a container is admitted
before its cable is made. What has a VLAN tag is dropped; what else is not IP, ARP or IPv6 is judged by its MAC alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from weave.net.model import Attachment, Mac, Packed
from weave.net.naming import HOST_PREFIX
from weave.netlink.messages import mac_octets
from weave.netlink.nftables import NFPROTO_BRIDGE, Element

FAMILY = "bridge"
TABLE = "weave_ports"
MACS, SOURCES4, SOURCES6 = "macs", "sources4", "sources6"
NAME_OCTETS = 16
"""The name of an interface as nftables keeps it, filled up with zeros."""
_MAC_PADDING = bytes(2)
"""Each part of a key fills up to four octets."""
_TAGS = "{ 0x8100, 0x88a8 }"
"""802.1Q and 802.1ad: a kernel that gets a tag of VLAN 0 takes it off and reads on. It knows no other type of tag."""

_RULES = (
    ("of no container", f'iifname != "{HOST_PREFIX}*" accept'),
    ("MAC of another", f"iifname . ether saddr != @{MACS} counter drop"),
    ("tagged, so that what is inside is not seen", f"ether type {_TAGS} counter drop"),
    ("asks whether an address is free (RFC 5227)", "ether type arp arp saddr ip 0.0.0.0 accept"),
    ("ARP for an address of another", f"ether type arp iifname . arp saddr ip != @{SOURCES4} counter drop"),
    ("has no IPv4 address yet", "ether type ip ip saddr 0.0.0.0 accept"),
    ("IPv4 address of another", f"ether type ip iifname . ip saddr != @{SOURCES4} counter drop"),
    ("of the link alone", "ether type ip6 ip6 saddr { ::, fe80::/10 } accept"),
    ("IPv6 address of another", f"ether type ip6 iifname . ip6 saddr != @{SOURCES6} counter drop"),
)
_TYPES = {MACS: "ether_addr", SOURCES4: "ipv4_addr", SOURCES6: "ipv6_addr"}
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
    found = [_element(MACS, name + port.mac + _MAC_PADDING)]
    found += [_element(SOURCES4 if len(address) == 4 else SOURCES6, name + address)
              for address in sorted(port.addresses)]
    return found


def _element(name: str, key: bytes) -> Element:
    return Element(NFPROTO_BRIDGE, TABLE, name, key)


def replacement(ports: Iterable[Port]) -> str:
    """Return the transaction, as text for `nft`, that puts the table with these ports in place of what is there."""
    words: dict[str, list[str]] = {name: [] for name in _TYPES}
    for element in sorted(element for port in ports for element in elements(port)):
        words[element.name].append('"{}" . {}'.format(*_parts(element)))
    lines = [f"table {FAMILY} {TABLE}", f"delete table {FAMILY} {TABLE}", f"table {FAMILY} {TABLE} {{"]
    for name, kind in _TYPES.items():
        listed = f"elements = {{ {', '.join(words[name])} }}; " if words[name] else ""
        lines.append(f"set {name} {{ type ifname . {kind}; {listed}}}")
    lines.append(f"chain guard {{ type filter hook prerouting priority {_PRIORITY}; policy accept;")
    lines += [f'{rule} comment "{comment}"' for comment, rule in _RULES]
    return "\n".join([*lines, "}", "}", ""])


def differs(listing: Mapping[str, object], ports: Iterable[Port]) -> bool:
    """Say whether what `nft -j list table` shows is not the table that guards these ports."""
    wanted = {(element.name, *_parts(element)) for port in ports for element in elements(port)}
    items = listing.get("nftables")
    try:
        assert isinstance(items, list)
        comments = [item["rule"].get("comment") for item in items if "rule" in item]
        shown = {(item["set"]["name"], *element["concat"]) for item in items if "set" in item
                 for element in item["set"].get("elem", ())}
    except (AssertionError, KeyError, TypeError):
        return True
    return comments != [comment for comment, _ in _RULES] or shown != wanted


def dropped(listing: Mapping[str, object]) -> int:
    """Return how many packets the rules of a listing dropped."""
    items = listing.get("nftables")
    rules = [item["rule"] for item in items if "rule" in item] if isinstance(items, list) else []
    return sum(part["counter"]["packets"] for rule in rules for part in rule["expr"] if "counter" in part)


def _parts(element: Element) -> tuple[str, str]:
    port, rest = element.key[:NAME_OCTETS].rstrip(b"\0").decode(), element.key[NAME_OCTETS:]
    return port, rest[:6].hex(":") if element.name == MACS else str(ip_address(rest))
