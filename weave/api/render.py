"""Text of `weave status` out of the report: the words and shapes of Weave Net, in a stable order.

Pure. Columns have Weave's widths and grow where something longer (an IPv6 address) stands in them; every list is
sorted so that two looks can be compared.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from weave.api.report import BridgeReport, ConnectionReport, IpamReport, LinkReport, OwnerReport, PeerReport, Report

ADDRESS_WIDTH = 21
"""`255.255.255.255:65535`; longer ones push the whole column."""
PEER_WIDTH = 37
STATE_WIDTH = 11
MODE_WIDTH = 6
CONTAINER_WIDTH = 12
"""What container runtimes show of an id."""
_RUNTIME_ID = re.compile(r"[0-9a-f]{32,}")
_STATES = ("established", "pending", "retrying", "failed", "connecting", "waiting")


@dataclass(frozen=True, slots=True)
class Part:
    """One page of the status."""

    lines: Callable[[Report], Iterable[str]]
    value: Callable[[Report], object]
    """What the page shows, as JSON; None where the service is off."""
    service: str


def render_overview(report: Report) -> str:
    """Return the text of `weave status`."""
    blocks = [[("Version", report["Version"])], _router_block(report), _ipam_block(report["IPAM"]),
              _ipam_block(report["IPAM6"]), _dns_block(report),
              _bridge_block(report)]
    text = "\n".join("".join(f"{key:>15}: {value}\n" for key, value in block) for block in blocks if block)
    return text + "".join(f"\n        WARNING: {warning}\n" for warning in report["Router"]["Warnings"])


def _router_block(report: Report) -> list[tuple[str, str]]:
    router = report["Router"]
    connections = Counter(connection["State"] for connection in router["Connections"])
    directed = Counter(
        "established" if connection["Established"] else "pending"
        for peer in router["Peers"] for connection in peer["Connections"]
    )
    encryption = "enabled" if router["Encryption"] else "disabled (no password: whoever can connect may join)"
    return [
        ("Service", "router"),
        ("Protocol", f"{router['Protocol']} {router['ProtocolMinVersion']}..{router['ProtocolMaxVersion']}"),
        ("Name", f"{router['Name']}({router['NickName']})"),
        ("Encryption", encryption),
        ("PeerDiscovery", "enabled" if router["PeerDiscovery"] else "disabled"),
        ("Targets", str(len(router["Targets"]))),
        ("Connections", f"{len(router['Connections'])}{_counts(connections, '({})')}"),
        ("Peers", f"{len(router['Peers'])}{_counts(directed, '(with {} connections)')}"),
        ("TrustedSubnets", ", ".join(router["TrustedSubnets"]) or "none"),
    ]


def _counts(counts: Counter[str], frame: str) -> str:
    """Return ` (2 established, 1 failed)`, or nothing where nothing was counted."""
    known = [f"{counts[state]} {state}" for state in _STATES if counts[state]]
    others = [f"{count} {state}" for state, count in sorted(counts.items()) if state not in _STATES]
    return " " + frame.format(", ".join(known + others)) if counts else ""


def _ipam_block(ipam: IpamReport | None) -> list[tuple[str, str]]:
    if ipam is None:
        return []
    return [("Service", "ipam"), ("Status", ipam["Status"]), ("Range", ipam["Range"]),
            ("DefaultSubnet", ipam["DefaultSubnet"])]


def _dns_block(report: Report) -> list[tuple[str, str]]:
    dns = report["DNS"]
    if dns is None:
        return []
    return [("Service", "dns"), ("Domain", dns["Domain"]), ("Upstream", ", ".join(dns["Upstream"]) or "none"),
            ("TTL", str(dns["TTL"])), ("Entries", str(len(dns["Entries"])))]


def _bridge_block(report: Report) -> list[tuple[str, str]]:
    bridge = report["Bridge"]
    modes = Counter(link["Mode"] for link in report["Links"])
    by_mode = ", ".join(f"{count} {mode}" for mode, count in sorted(modes.items()))
    return [("Service", "bridge"), ("Device", bridge["Name"]), ("MTU", _mtu(bridge)),
            ("Addresses", ", ".join(bridge["Addresses"]) or "none"),
            ("Links", f"{len(report['Links'])}" + (f" ({by_mode})" if by_mode else "")),
            ("Endpoints", str(len(report["Endpoints"])))]


def _mtu(bridge: BridgeReport) -> str:
    reason = bridge["MTUReason"]
    return f"{bridge['MTU']} ({reason})" if reason else str(bridge["MTU"])


def _targets(report: Report) -> Iterable[str]:
    return sorted(report["Router"]["Targets"], key=_natural)


def _connections(report: Report) -> Iterable[str]:
    connections = sorted(report["Router"]["Connections"], key=_connection_order)
    width = _width((connection["Address"] for connection in connections), ADDRESS_WIDTH)
    for connection in connections:
        direction = "->" if connection["Outbound"] else "<-"
        state = connection["State"]
        yield f"{direction} {connection['Address']:<{width}} {state:<{STATE_WIDTH}} {_about(connection)}".rstrip()


def _connection_order(connection: ConnectionReport) -> tuple[object, ...]:
    return not connection["Outbound"], _natural(connection["Address"]), connection["Name"] or "", connection["State"]


def _about(connection: ConnectionReport) -> str:
    """Return what stands behind the state: encryption, link mode, peer, the reason in words, attributes."""
    attributes = dict(connection["Attrs"])
    mode = attributes.pop("mode", None)
    words = []
    if connection["Name"] is not None and mode is not None:
        words.append(f"{_encryption(attributes.get('encrypted')):<{STATE_WIDTH}}")
    if mode is not None:
        words.append(f"{mode!s:<{MODE_WIDTH}}")
    if connection["Name"] is not None:
        words.append(f"{connection['Name']}({connection['NickName'] or ''})")
    if connection["Info"]:
        words.append(connection["Info"])
    words += [f"{key}={_attribute(value)}" for key, value in sorted(attributes.items()) if key != "name"]
    return " ".join(words)


def _encryption(is_encrypted: object) -> str:
    """Say how container traffic goes to a peer; none goes to one without a link."""
    if is_encrypted is None:
        return "-"
    return "encrypted" if is_encrypted else "unencrypted"


def _attribute(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _peers(report: Report) -> Iterable[str]:
    peers = sorted(report["Router"]["Peers"], key=lambda peer: peer["Name"])
    width = _width((c["Address"] for peer in peers for c in peer["Connections"]), ADDRESS_WIDTH)
    for peer in peers:
        yield from _peer_lines(peer, width)


def _peer_lines(peer: PeerReport, width: int) -> Iterable[str]:
    yield f"{peer['Name']}({peer['NickName']})" + ("" if peer["Reachable"] else " - unreachable!")
    for connection in sorted(peer["Connections"], key=lambda c: (c["Name"], c["Address"])):
        direction = "->" if connection["Outbound"] else "<-"
        name = f"{connection['Name']}({connection['NickName']})"
        state = "established" if connection["Established"] else "pending"
        yield f"   {direction} {connection['Address']:<{width}} {name:<{PEER_WIDTH}} {state}"


def _dns_lines(report: Report) -> Iterable[str]:
    dns = report["DNS"]
    assert dns is not None
    rows = [
        (entry["Hostname"].removesuffix("." + dns["Domain"]), entry["Address"],
         short_id(entry["ContainerID"]), entry["Origin"] + ("" if entry["Reachable"] else " - unreachable!"))
        for entry in dns["Entries"]
    ]
    rows.sort(key=lambda row: (row[0], _natural(row[1]), row[2:]))
    return _columns(rows, (12, 15, CONTAINER_WIDTH))


def short_id(container: str) -> str:
    """Return the beginning of a runtime's id, and any other word (a namespace's name) in full."""
    return container[:CONTAINER_WIDTH] if _RUNTIME_ID.fullmatch(container) else container


def _ipam_lines(report: Report) -> Iterable[str]:
    rings = [ipam for ipam in (report["IPAM"], report["IPAM6"]) if ipam is not None]
    for ipam in rings:
        if len(rings) > 1:
            yield f"{ipam['Range']}:"
        yield from _ring_lines(ipam)


def _ring_lines(ipam: IpamReport) -> Iterable[str]:
    owners = sorted(ipam["Owners"], key=lambda owner: (owner["Active"] is None, owner["Peer"]))
    for owner in owners:
        name = f"{owner['Peer']}({owner['Nickname']})"
        share = f"({owner['Percent']:04.1f}% of total)"
        yield f"{name:<{PEER_WIDTH}} {owner['IPs']:8d} IPs {share} {_owner_note(owner)}".rstrip()
    yield from _ipam_notes(ipam)


def _ipam_status(ipam: IpamReport) -> Iterable[str]:
    """Say what a ring waits for; nothing where it is ready, or where lines about conflicts say it."""
    status, paxos = ipam["Status"], ipam["Paxos"]
    if status == "ready" or (status.startswith("conflict: ") and ipam["Conflicts"]):
        return
    votes = ""
    if paxos is not None and "quorum" not in status:
        votes = f" (quorum: {paxos['Quorum']}, known: {paxos['KnownNodes']})"
    yield f"status: {status}{votes}"


def _owner_note(owner: OwnerReport) -> str:
    active = "" if owner["Active"] is None else f"({owner['Active']} active)"
    return active if owner["Reachable"] else f"{active} - unreachable!".strip()


def _ipam_notes(ipam: IpamReport) -> Iterable[str]:
    yield from _ipam_status(ipam)
    for pending in sorted(ipam["PendingAllocates"]):
        yield f"waiting for an address: {pending}"
    for ident, cidr in sorted((claim["Ident"], claim["CIDR"]) for claim in ipam["PendingClaims"]):
        yield f"waiting to claim: {ident} {cidr}"
    for conflict in sorted(ipam["Conflicts"]):
        yield f"conflict: {conflict}"


def _endpoints(report: Report) -> Iterable[str]:
    rows = [
        (endpoint["MAC"], ",".join(endpoint["Addresses"]) or "-", short_id(endpoint["ContainerID"]) or "-",
         endpoint["Interface"] or "-",
         f"{endpoint['Peer']}({endpoint['NickName']})" + (" local" if endpoint["Local"] else "")
         + "".join(f" {key}={value}" for key, value in endpoint["Labels"].items()))
        for endpoint in report["Endpoints"]
    ]
    rows.sort(key=lambda row: (_natural(row[1]), row[0]))
    return _columns(rows, (17, 18, CONTAINER_WIDTH, 5))


def _links(report: Report) -> Iterable[str]:
    rows = [
        (f"{link['Peer']}({link['NickName']})", link["Mode"], link["Address"], f"mtu={link['MTU']}",
         " ".join(filter(None, (_link_quality(link), link["Reason"]))))
        for link in report["Links"]
    ]
    return _columns(sorted(rows), (PEER_WIDTH, MODE_WIDTH, 15, 8))


def _link_quality(link: LinkReport) -> str:
    quality = link["Quality"]
    if quality is None:
        return ""
    rtt = "?" if quality["RTTms"] is None else f"{quality['RTTms']:g}"
    return (f"rtt_ms={rtt} loss={quality['LossPercent']:g}% sent={quality['SentBytes']} "
            f"received={quality['ReceivedBytes']} datagram={quality['DatagramBytes']}")


def _columns(rows: Sequence[tuple[str, ...]], least: tuple[int, ...]) -> Iterable[str]:
    """Align all columns but the last, each at least as wide as told."""
    widths = [_width((row[i] for row in rows), width) for i, width in enumerate(least)]
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)]
        yield " ".join([*cells, *row[len(widths):]]).rstrip()


def _width(texts: Iterable[str], least: int) -> int:
    return max([least, *map(len, texts)])


def _natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Order 10.0.0.9 before 10.0.0.10."""
    return tuple((0, int(word), "") if word.isdigit() else (1, 0, word) for word in re.findall(r"[0-9]+|[^0-9]+", text))


PARTS = {
    "targets": Part(_targets, lambda report: report["Router"]["Targets"], "targets"),
    "connections": Part(_connections, lambda report: report["Router"]["Connections"], "connections"),
    "peers": Part(_peers, lambda report: report["Router"]["Peers"], "peers"),
    "dns": Part(_dns_lines, lambda report: report["DNS"], "a name service (--no-dns)"),
    "ipam": Part(_ipam_lines, lambda report: report["IPAM"], "address allocation (--ipalloc-range none)"),
    "endpoints": Part(_endpoints, lambda report: report["Endpoints"], "endpoints"),
    "links": Part(_links, lambda report: report["Links"], "links"),
}


def part_of(report: Report, name: str) -> object:
    """Return the data of one page, None where its service is off."""
    return PARTS[name].value(report)


def render_part(report: Report, name: str) -> str:
    """Return the text of one page, whose service must be on."""
    return "".join(f"{line}\n" for line in PARTS[name].lines(report))
