"""What a packet depends on from an end on this host on to another, step by step. Pure.

Gossip says what is meant to be, the kernel what is: both are given, and every step is a comparison. A step that fails
is `broken`, with what to do about it; one that works less well, or of which this host cannot know, is a `doubt`.

    container -> admission -> route -> neighbour -> forwarding -> link
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_interface, ip_network

from weave.addresses import IPAddress, IPNetwork
from weave.api.report import LinkReport, Report
from weave.api.trace import State, StepReport
from weave.net import InsideState, WayState
from weave.router.trace.ends import End
from weave.router.underlay import MODE_NONE, MODE_SLEEVE

MUCH_LOSS_PERCENT = 1.0
"""What TCP begins to suffer from."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the kernel of this host has for one leg."""

    inside: InsideState | None
    """The interface inside the container; None: it is not there, or `hidden` says why it cannot be seen."""
    way: WayState | None
    """Where what is for the other end goes; None where nobody has that address."""
    hidden: str = ""
    is_admitted: bool = True
    """The policy controller lets the container's addresses in, or there is none."""
    routes_subnets: bool = False
    """This host passes packets on between subnets."""


def steps(report: Report, look: Look, end: End, other: End) -> Iterator[StepReport]:
    """Yield what a packet from `end`, which is on this host, to `other` depends on, in the order in which it goes."""
    yield _host(report, end) if end.is_host else _container(report, look, end)
    if not look.is_admitted:
        yield step("admission", "broken", f"weave-npc has not let {end.title} in yet, so it can neither send nor "
                                           "receive; see whether weave-npc runs: `weave policy status`")
    yield _route(report, look, end, other)
    if other.endpoint is None:
        yield _nobody(report, other)
        return
    if look.way is None:
        return
    if other.is_local:
        yield step("forwarding", "ok", f"{other.title} is on this host, too: the bridge passes it on by itself")
        return
    link = _link_to(report, other)
    yield _neighbour(look.way, other)
    yield _forwarding(look.way, other, link)
    yield _link(report, other, link)


def step(name: str, state: State, text: str) -> StepReport:
    """Return a step."""
    return {"Step": name, "State": state, "Text": text}


# -- the end itself ---------------------------------------------------------------------------------------------------

def _host(report: Report, end: End) -> StepReport:
    bridge = report["Bridge"]
    if end.address in _plain(bridge["Addresses"]):
        return step("host", "ok", f"the bridge {bridge['Name']} has {end.address} and MTU {bridge['MTU']}")
    return step("host", "broken", f"the bridge {bridge['Name']} lacks {end.address}; `weave expose {end.address}/...` "
                                   "gives it back")


def _container(report: Report, look: Look, end: End) -> StepReport:
    assert end.endpoint is not None
    name, inside = end.endpoint["Interface"], look.inside
    if inside is None:
        if look.hidden:
            return step("container", "doubt", f"cannot look into {end.title}: {look.hidden}")
        return step("container", "broken", f"{name} is not there, or its cable leads elsewhere; detach {end.title} "
                                            "and attach it again")
    wrong = list(_wrong_inside(report, inside, end, name))
    if wrong:
        return step("container", "broken", "; ".join(wrong))
    return step("container", "ok", f"{name} is up, on the bridge, with {end.address}, {inside.mac} and MTU "
                                    f"{inside.mtu}")


def _wrong_inside(report: Report, inside: InsideState, end: End, name: str) -> Iterator[str]:
    assert end.endpoint is not None
    if not inside.is_up:
        yield f"{name} is down; somebody switched it off in the container"
    if not inside.on_bridge:
        yield f"{inside.host_interface}, its end on the host, is no port of the bridge"
    if end.address not in (item.ip for item in inside.addresses):
        yield f"{name} lacks {end.address}; somebody removed it in the container"
    if inside.mac != end.endpoint["MAC"]:
        yield f"{name} has the MAC {inside.mac}, and what does not come from {end.endpoint['MAC']} is dropped"
    if inside.mtu > report["Bridge"]["MTU"]:
        yield f"{name} has MTU {inside.mtu}, and what is larger than the bridge's {report['Bridge']['MTU']} is lost"


# -- where it sends to ------------------------------------------------------------------------------------------------

def _route(report: Report, look: Look, end: End, other: End) -> StepReport:
    ours = _plain(report["Bridge"]["Addresses"])
    found = _best_route(other.address, _networks(report, look, end), look)
    if found is None:
        return _no_route(report, end, other)
    network, gateway = found
    if gateway is None:
        return step("route", "ok", f"{other.address} is on its link, {network}")
    if gateway not in ours:
        return step("route", "doubt", f"{other.address} goes by the gateway {gateway}, which is not this host")
    if other.endpoint is not None and not look.routes_subnets:
        return step("route", "broken", f"{other.address} is in another subnet, and hosts keep subnets apart unless "
                                        "they run with --route-subnets")
    return step("route", "ok", f"{other.address} goes by the gateway {gateway}, this host, for {network}")


def _no_route(report: Report, end: End, other: End) -> StepReport:
    if end.is_host and _is_foreign(report, other):
        return step("route", "doubt", f"{other.address} is reached not by this network; the host's own routes decide")
    if end.is_host:
        return step("route", "broken", f"the bridge has no address in the subnet of {other.address}; `weave expose "
                                        "net:SUBNET` gives it one")
    assert end.endpoint is not None
    return step("route", "broken" if other.endpoint is not None else "doubt",
                 f"{end.title} does not reach {other.address} by {end.endpoint['Interface']}: no address of that "
                 "subnet, no route")


def _networks(report: Report, look: Look, end: End) -> set[IPNetwork]:
    """Return the subnets on the link of an end: as the kernel has them, where it can be seen."""
    if end.is_host:
        return {ip_interface(text).network for text in report["Bridge"]["Addresses"]}
    if look.inside is not None:
        return {address.network for address in look.inside.addresses}
    return set() if end.network is None else {end.network}


def _best_route(address: IPAddress, links: Collection[IPNetwork],
                look: Look) -> tuple[IPNetwork, IPAddress | None] | None:
    """Return the longest prefix that holds an address, and its gateway."""
    routes: list[tuple[IPNetwork, IPAddress | None]] = [(network, None) for network in links]
    if look.inside is not None:
        routes += [(route.destination, route.gateway) for route in look.inside.routes]
    fitting = [(network, gateway) for network, gateway in routes
               if network.version == address.version and address in network]
    return max(fitting, key=lambda route: (route[0].prefixlen, route[1] is None), default=None)


def _is_foreign(report: Report, other: End) -> bool:
    """Say whether nobody has an address, and it lies neither in a range nor in the subnet of anybody."""
    networks = {ip_interface(text).network for row in report["Endpoints"] for text in row["Addresses"]}
    networks |= {ip_network(ipam["Range"]) for ipam in (report["IPAM"], report["IPAM6"]) if ipam is not None}
    return other.endpoint is None and not any(
        network.version == other.address.version and other.address in network for network in networks)


def _nobody(report: Report, other: End) -> StepReport:
    """Say what an address is that nobody has."""
    for ipam in (report["IPAM"], report["IPAM6"]):
        if ipam is None or ip_network(ipam["Range"]).version != other.address.version:
            continue
        if other.address not in ip_network(ipam["Range"]):
            return step("address", "ok", f"{other.address} is outside {ipam['Range']}, none of this network; beyond "
                                          "its gateway nothing is known")
        owner = next((row["Nickname"] or row["Peer"] for row in ipam["Entries"]
                      if 0 <= int(other.address) - int(ip_interface(row["Token"]).ip) < row["Size"]), "nobody")
        return step("address", "broken", f"nothing on the network has {other.address}; it is one of those that "
                                          f"{owner} gives out: is the container attached? `weave ps` there")
    if _is_foreign(report, other):
        return step("address", "ok", f"{other.address} is none of this network; beyond its gateway nothing is known")
    return step("address", "broken", f"nothing on the network has {other.address}")


# -- how it gets there ------------------------------------------------------------------------------------------------

def _neighbour(way: WayState, other: End) -> StepReport:
    assert other.endpoint is not None
    asks = "ARP" if other.address.version == 4 else "ND"
    mac = other.endpoint["MAC"]
    if way.neighbour is None:
        return step("neighbour", "doubt", f"this host does not answer {asks} for {other.address}; every host is asked")
    if way.neighbour != mac:
        return step("neighbour", "broken", f"this host answers {asks} that {other.address} is at {way.neighbour}, and "
                                            f"{other.title} has {mac}; do two containers have that address?")
    return step("neighbour", "ok", f"this host answers {asks}: {other.address} is at {mac}")


def _forwarding(way: WayState, other: End, link: LinkReport | None) -> StepReport:
    assert other.endpoint is not None
    mac = other.endpoint["MAC"]
    if way.device is None:
        return step("forwarding", "doubt", f"no entry for {mac}; what is for it goes to every host")
    by_sleeve = link is not None and link["Mode"] == MODE_SLEEVE
    if (way.vtep is None) != by_sleeve:
        return step("forwarding", "doubt", f"{mac} leaves by {way.device}, but the link is "
                                            f"{'unknown' if link is None else link['Mode']}; is it just changing?")
    towards = "" if way.vtep is None else f" to {way.vtep}"
    return step("forwarding", "ok", f"{mac} leaves by {way.device}{towards}")


def _link(report: Report, other: End, link: LinkReport | None) -> StepReport:
    assert other.endpoint is not None
    host = other.endpoint["NickName"] or other.endpoint["Peer"]
    if link is None:
        return step("link", "broken", f"{host} is not known on the mesh any more; does its router run?")
    if link["Mode"] == MODE_NONE:
        return step("link", "broken", f"there is no link to {host}: {link['Reason']}")
    quality = link["Quality"]
    is_silent = link["Mode"] == MODE_SLEEVE and (quality is None or quality["RTTms"] is None)
    is_lossy = quality is not None and quality["LossPercent"] >= MUCH_LOSS_PERCENT
    words = f"{link['Mode']} {_figures(link)}{', no answer yet' if is_silent else ''}"
    words += f"; {link['Reason']}" if link["Reason"] else ""
    if not any(peer["Name"] == link["Peer"] and peer["Reachable"] for peer in report["Router"]["Peers"]):
        return step("link", "doubt", f"the router of {host} is not heard of; what was programmed stays: {words}")
    return step("link", "doubt" if is_silent or is_lossy else "ok", words)


def _figures(link: LinkReport) -> str:
    towards = link["Address"] if link["Address"].startswith("via ") else f"to {link['Address']}"
    quality = link["Quality"]
    if quality is None:
        return f"{towards}, MTU {link['MTU']}"
    rtt = "" if quality["RTTms"] is None else f", RTT {quality['RTTms']:g} ms"
    return f"{towards}, MTU {link['MTU']}{rtt}, loss {quality['LossPercent']:g}%"


def _link_to(report: Report, other: End) -> LinkReport | None:
    assert other.endpoint is not None
    return next((link for link in report["Links"] if link["Peer"] == other.endpoint["Peer"]), None)


def _plain(texts: Sequence[str]) -> list[IPAddress]:
    return [ip_interface(text).ip for text in texts]
