"""The table `weave_links`: VXLAN leaves and enters this host only as it should. Pure.

    out      by weave-wg to an inner address: accept · to an ESP peer, protected: accept · to a trusted peer: accept ·
             any other VXLAN, and any other probe: drop
    in       inner addresses, but by weave-wg: drop · from an ESP peer, unprotected: drop ·
             probes outside tunnels: drop · by weave-wg, but VXLAN and probes: drop
    forward  from or to weave-wg: drop

It stands beside forwarding entries and IPsec policies, which alone should do: it holds while these are changed, before
they are there, and when somebody flushes them. It is there while a password is set, and outlives the router.
"""

from collections.abc import Iterable

from weave.addresses import IPAddress
from weave.net.crypt.keys import INNER_NETWORK
from weave.net.guard import COUNT_AND_DROP, PROTOCOL, Chain, Json, Rule, Table, match, payload, rule
from weave.net.model import WIREGUARD_DEVICE as WIREGUARD

GATE_TABLE = "weave_links"
BEFORE_FILTER = -10
PLAIN = {4: "plain4", 6: "plain6"}
ESP = {4: "esp4", 6: "esp6"}
LOOPBACK = "lo"
ICMPV6 = 58
"""By its number: `nft` finds names of protocols in /etc/protocols, which an image need not have."""
_ACCEPT: Json = {"accept": None}
_IN, _OUT = {"meta": {"key": "iifname"}}, {"meta": {"key": "oifname"}}
_INNER = {"prefix": {"addr": str(INNER_NETWORK.network_address), "len": INNER_NETWORK.prefixlen}}


def gate_table(plain: Iterable[IPAddress], esp: Iterable[IPAddress], *, port: int, probe_port: int) -> Table:
    """Return the table for these peers: those that get plain VXLAN, and those that get it by ESP only."""
    protected = frozenset(esp)
    open_ = frozenset(plain) - protected
    members = [(PLAIN, open_), (ESP, protected)]
    return Table(
        GATE_TABLE,
        {names[version]: frozenset(ip for ip in addresses if ip.version == version)
         for names, addresses in members for version in (4, 6)},
        tuple(Chain(hook, "filter", hook, BEFORE_FILTER) for hook in ("output", "input", "forward")),
        (*_outgoing(port, probe_port), *_incoming(port, probe_port), *_passing()),
    )


def _outgoing(port: int, probe_port: int) -> list[Rule]:
    ours, vxlan = _ports(port, probe_port), match(payload("udp", "dport"), port)
    rules = [rule("output", "VXLAN in WireGuard", match(_OUT, WIREGUARD), match(payload("ip6", "daddr"), _INNER), ours,
                  _ACCEPT)]
    for version, protocol in sorted(PROTOCOL.items()):
        destination = payload(protocol, "daddr")
        is_esp = match(destination, f"@{ESP[version]}")
        rules += [
            rule("output", f"ESP over IPv{version}", is_esp, ours, match({"rt": {"key": "ipsec"}}, True), _ACCEPT),
            rule("output", f"ESP missing over IPv{version}", is_esp, ours, *COUNT_AND_DROP),
            rule("output", f"trusted IPv{version} peers", match(destination, f"@{PLAIN[version]}"), vxlan, _ACCEPT),
        ]
    return [
        *rules,
        rule("output", "inner addresses outside WireGuard", match(_OUT, LOOPBACK, "!="),
             match(payload("ip6", "daddr"), _INNER), *COUNT_AND_DROP),
        rule("output", "VXLAN and probes in the clear", ours, *COUNT_AND_DROP),
    ]


def _incoming(port: int, probe_port: int) -> list[Rule]:
    ours = _ports(port, probe_port)
    outside = match(_IN, {"set": [LOOPBACK, WIREGUARD]}, "!=")
    rules = [
        rule("input", f"{side} inner outside WireGuard", outside, match(payload("ip6", side), _INNER), *COUNT_AND_DROP)
        for side in ("saddr", "daddr")
    ]
    rules += [
        rule("input", f"ESP missing from IPv{version}", match(payload(protocol, "saddr"), f"@{ESP[version]}"), ours,
             match({"meta": {"key": "ipsec"}}, False), *COUNT_AND_DROP)
        for version, protocol in sorted(PROTOCOL.items())
    ]
    rules.append(rule("input", "probes outside tunnels", match(payload("udp", "dport"), probe_port),
                      match(_IN, WIREGUARD, "!="), match({"meta": {"key": "ipsec"}}, False), *COUNT_AND_DROP))
    through = match(_IN, WIREGUARD)
    icmp = match({"meta": {"key": "l4proto"}}, ICMPV6)
    return [*rules, rule("input", "WireGuard", through, ours, _ACCEPT),
            rule("input", "errors in WireGuard", through, icmp, _ACCEPT),
            rule("input", "anything else in WireGuard", through, *COUNT_AND_DROP)]


def _passing() -> list[Rule]:
    return [rule("forward", f"{word} WireGuard", match(side, WIREGUARD), *COUNT_AND_DROP)
            for word, side in (("from", _IN), ("into", _OUT))]


def _ports(port: int, probe_port: int) -> Json:
    return match(payload("udp", "dport"), {"set": [port, probe_port]})
