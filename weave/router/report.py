"""The report: what a router knows of itself, gathered from its parts when somebody asks.

Pure reading. The shape is that of `weave.api.report`; the words for people (why a link is not better, why a target
is retried) come from the parts that decided, and are only put together here.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from weave.api.report import (
    BridgeReport,
    ConnectionReport,
    DnsReport,
    EndpointReport,
    IpamReport,
    LinkReport,
    PeerConnectionReport,
    PeerReport,
    QualityReport,
    RouterReport,
)
from weave.dns import Catalogue, DnsServer
from weave.ipam.views import IpamView
from weave.mesh.attempts import TargetView
from weave.mesh.preamble import PROTOCOL_MAX, PROTOCOL_MIN
from weave.mesh.service import MeshService
from weave.mesh.views import ConnectionView
from weave.names import PeerName
from weave.net import Datapath, Endpoint, PeerStatus, SegmentMtu, TunnelQuality
from weave.router.fabric import Fabric
from weave.router.underlay import MODE_NONE, MODE_SLEEVE, MODE_VXLAN, LinkDecision
from weave.settings import Settings

REFUSAL_SHOWN_S = 120.0
"""How long a connection that was refused at our door stays in `weave status connections`."""


def router_report(settings: Settings, mesh: MeshService, fabric: Fabric, *, name: PeerName, uid: int, mtu: int,
                  refused: Mapping[str, int], warnings: Sequence[str], now: float) -> RouterReport:
    """Return the part of the report that is about the mesh."""
    core = mesh.core
    return {
        "Protocol": "weave", "ProtocolMinVersion": PROTOCOL_MIN, "ProtocolMaxVersion": PROTOCOL_MAX,
        "Name": name, "NickName": settings.nickname, "UID": uid, "Port": settings.port,
        "Encryption": bool(settings.passwords), "PeerDiscovery": settings.discovery,
        "Targets": sorted(target.address for target in core.targets() if target.user),
        "TrustedSubnets": [str(subnet) for subnet in settings.trusted_subnets],
        "TerminationCount": mesh.terminations, "ConnLimit": settings.connection_limit,
        "Connections": _connections(settings, mesh, fabric, mtu, now),
        "Peers": _peers(mesh),
        "UnicastRoutes": [{"Dest": route.destination, "Via": route.via} for route in core.unicast_routes()],
        "BroadcastRoutes": [{"Source": route.source, "Via": list(route.via)} for route in core.broadcast_routes()],
        "Refused": dict(sorted((core.refused + fabric.refused + mesh.handshake_failures + Counter(refused)).items())),
        "Warnings": [*core.warnings(), *warnings],
    }


def _connections(settings: Settings, mesh: MeshService, fabric: Fabric, mtu: int, now: float) -> list[ConnectionReport]:
    """Return live connections first, then the targets that are not connected, then who was refused at our door."""
    links = {link.peer: link for link in fabric.links}
    live = mesh.core.connections()
    rows = [_live(settings, view, links.get(view.peer), mtu) for view in live]
    rows += [_waiting(target, now) for target in mesh.core.targets() if target.state != "connected"]
    shown: set[str] = set()
    for refusal in reversed(mesh.inbound_refusals):
        host = refusal.address.rpartition(":")[0]
        if now - refusal.at <= REFUSAL_SHOWN_S and host not in shown:
            shown.add(host)
            rows.append({"Address": refusal.address, "Outbound": False, "State": "failed", "Info": refusal.reason,
                         "Name": None, "NickName": None, "Attrs": {}})
    return rows


def _live(settings: Settings, view: ConnectionView, link: LinkDecision | None, mtu: int) -> ConnectionReport:
    mode = link.mode if link is not None else MODE_NONE
    attributes: dict[str, object] = {"mode": mode, "mtu": mtu}
    is_sealed = seals(mode, has_password=bool(settings.passwords))
    if is_sealed is not None:
        attributes["encrypted"] = is_sealed
    if view.rtt_s is not None:
        attributes["rtt_ms"] = round(view.rtt_s * 1000, 2)
    return {"Address": view.address, "Outbound": view.outbound,
            "State": "established" if view.established else "pending",
            "Info": link.reason if link is not None and link.mode == MODE_NONE else "",
            "Name": view.peer, "NickName": view.nickname, "Attrs": attributes}


def seals(mode: str, *, has_password: bool) -> bool | None:
    """Say whether container traffic of this mode is secret from the underlay; None where there is none.

    It is about container traffic, as in Weave Net: the control connection is encrypted in any case. Without a password
    whoever can connect may join, and what the sleeve seals is secret from nobody who does.
    """
    return None if mode == MODE_NONE else has_password and mode != MODE_VXLAN


def _waiting(target: TargetView, now: float) -> ConnectionReport:
    return {"Address": target.address, "Outbound": True, "State": target.state, "Info": target.describe(now),
            "Name": None, "NickName": None, "Attrs": {}}


def _peers(mesh: MeshService) -> list[PeerReport]:
    return [
        {"Name": peer.name, "NickName": peer.nickname, "UID": peer.uid, "Version": peer.protocol_max,
         "Reachable": peer.reachable, "Connections": [
             PeerConnectionReport(Name=link.peer, NickName=link.nickname, Address=link.address,
                                  Outbound=link.outbound, Established=link.established)
             for link in peer.links]}
        for peer in mesh.core.peers()
    ]


def endpoint_reports(local: Iterable[Endpoint], remote: Iterable[Endpoint], nicknames: dict[PeerName, str],
                     me: PeerName) -> list[EndpointReport]:
    """Return every container interface of the network, ours first."""
    return [
        {"MAC": endpoint.mac, "Addresses": [str(address) for address in endpoint.addresses],
         "ContainerID": endpoint.container, "Interface": endpoint.interface,
         "Peer": endpoint.peer or me, "NickName": nicknames.get(endpoint.peer or me, ""),
         "Local": endpoint.peer in (None, me), "Labels": dict(endpoint.labels)}
        for endpoint in (*local, *remote)
    ]


def link_reports(links: Iterable[LinkDecision], ways: Mapping[str, PeerStatus],
                 tunnels: Mapping[PeerName, TunnelQuality], mtu: int, sizes: SegmentMtu) -> list[LinkReport]:
    """Return how container traffic travels to each peer; `ways` is what the sleeve says of those that are its own."""
    known = list(links)
    nicknames = {str(link.peer): link.nickname for link in known}
    rows = [_link(link, ways.get(link.peer) if link.mode == MODE_SLEEVE else None, tunnels.get(link.peer), nicknames,
                  mtu) for link in known]
    for row in rows:
        if row["Peer"] == sizes.weakest:
            row["Reason"] += f"; that host sets the MTU of all: this one carries {sizes.own}"
    return rows


def _link(link: LinkDecision, way: PeerStatus | None, tunnel: TunnelQuality | None, nicknames: Mapping[str, str],
          mtu: int) -> LinkReport:
    address = str(link.address) if link.address is not None else ""
    if way is not None and way.helper:
        helper = nicknames.get(way.helper) or way.helper
        address = f"via {helper}"
    elif way is not None and way.address is not None:
        host, port = way.address
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    reason = link.reason
    if link.mode == MODE_SLEEVE and (way is None or not way.established):
        reason = f"no answer to the sleeve yet, is UDP let through? {reason}"
    elif way is not None and way.helper:
        reason = f"{_why_not_direct(way, helper)}; {reason}"
    measured = way or tunnel
    return {"Peer": link.peer, "NickName": link.nickname, "Mode": link.mode, "MTU": mtu, "Address": address,
            "Reason": reason, "Quality": None if measured is None else _quality(measured)}


def _why_not_direct(way: PeerStatus, helper: str) -> str:
    """Say in words why a peer is reached through another."""
    if way.direct is None:
        return "the direct way is being measured"
    if way.direct.rtt_s is None:
        return "no direct way answers"
    through = f", via {helper} {way.through.words()}" if way.through is not None else ""
    return f"directly {way.direct.words()}{through}"


def _quality(way: PeerStatus | TunnelQuality) -> QualityReport:
    return {"RTTms": None if way.rtt_s is None else round(way.rtt_s * 1000, 3),
            "LossPercent": round(way.loss * 100, 2), "DatagramBytes": way.size,
            "SentBytes": way.sent, "ReceivedBytes": way.received}


def bridge_report(datapath: Datapath, why_mtu: str) -> BridgeReport:
    """Return the bridge of this host."""
    state = datapath.bridge_state()
    return {"Name": state.name, "MAC": state.mac, "MTU": state.mtu, "MTUReason": why_mtu,
            "Addresses": [str(address) for address in state.addresses]}


def dns_report(server: DnsServer, catalogue: Catalogue, settings: Settings) -> DnsReport:
    """Return the part of the report that is about names."""
    bound = sorted(server.bound.items(), key=lambda item: (item[0].version, item[0]))
    places = [f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}" for address, port in bound]
    return {
        "Domain": settings.dns_domain, "Upstream": list(server.upstreams), "Address": places[0] if places else "",
        "TTL": settings.dns_ttl, "Counters": server.counters(), "Entries": [
            {"Hostname": entry.fqdn, "Origin": entry.origin, "ContainerID": entry.container,
             "Address": str(entry.address), "Reachable": entry.is_reachable} for entry in catalogue.entries()],
    }


def ipam_report(view: IpamView) -> IpamReport:
    """Return the part of the report that is about addresses."""
    return {
        "Status": view.status, "Range": str(view.network), "RangeNumIPs": view.network.num_addresses,
        "ActiveIPs": view.active, "DefaultSubnet": str(view.default_subnet),
        "Paxos": None if view.paxos is None else {
            "Elector": view.paxos.elector, "KnownNodes": view.paxos.known, "Quorum": view.paxos.quorum},
        "Entries": [
            {"Token": str(range_.token), "Size": range_.size, "Peer": range_.peer, "Nickname": range_.nickname,
             "IsKnownPeer": range_.is_known, "Version": range_.version} for range_ in view.ranges],
        "Owners": [
            {"Peer": owner.peer, "Nickname": owner.nickname, "IPs": owner.size, "Percent": owner.percent,
             "Active": owner.active, "Reachable": owner.reachable} for owner in view.owners],
        "PendingAllocates": list(view.pending_allocates),
        "PendingClaims": [{"Ident": ident, "CIDR": cidr} for ident, cidr in view.pending_claims],
        "Conflicts": list(view.conflicts),
    }
