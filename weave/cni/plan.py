"""From a request and what this host is like to what is to be done. Pure.

A runtime may choose addresses in three ways, of which the first that is there counts: the capability `ips`, the
argument `args.cni.ips`, and `IP=` in `CNI_ARGS`; likewise for the MAC. Without a choice there is one address of each
subnet: those that the configuration names, or the router's default.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_interface

from weave.addresses import IPAddress, IPInterface, IPNetwork
from weave.api.wishes import AnyIn, Exactly, Wish
from weave.cni.errors import CniError, Code
from weave.cni.netconf import NetConf, Wanted, parse_wanted
from weave.cni.reading import invalid
from weave.cni.request import Call
from weave.cni.result import Result, Route, has_default_route
from weave.labels import POD_NAME, POD_NAMESPACE

EVERYWHERE: Mapping[int, IPNetwork] = {4: IPv4Network("0.0.0.0/0"), 6: IPv6Network("::/0")}
POD_LABELS = {
    "K8S_POD_NAMESPACE": POD_NAMESPACE,
    "K8S_POD_NAME": POD_NAME,
    "K8S_POD_UID": "io.kubernetes.pod.uid",
}


@dataclass(frozen=True, slots=True)
class Host:
    """What of this router decides how a container is attached."""

    bridge: str
    ranges: tuple[IPNetwork, ...]
    """What is divided among the peers."""
    default_subnets: tuple[IPNetwork, ...]
    domain: str
    """Empty where it answers no names."""


def check_bridge(conf: NetConf, host: Host) -> None:
    """Refuse a configuration that is meant for another bridge."""
    if conf.bridge and conf.bridge != host.bridge:
        raise invalid(f"bridge is {conf.bridge!r}, but the router's is {host.bridge!r}; leave the key out")


def wishes_of(call: Call, host: Host) -> tuple[Wish, ...]:
    """Return the addresses to be taken from our allocator."""
    chosen = call.conf.addresses or _chosen_by_args(call.args)
    subnets = call.conf.ipam.subnets or host.default_subnets
    if chosen:
        return tuple(Exactly(wanted.interface or _completed(wanted.address, (*subnets, *host.default_subnets)))
                     for wanted in chosen)
    if not subnets:
        raise CniError(Code.INVALID_CONFIG, "this router manages no addresses (--ipalloc-range none); name one by the "
                       "capability ips, or an IPAM plugin by ipam.type")
    return tuple(AnyIn(subnet) for subnet in subnets)


def _chosen_by_args(args: Mapping[str, str]) -> tuple[Wanted, ...]:
    return tuple(parse_wanted(text.strip(), "IP in CNI_ARGS") for text in args.get("IP", "").split(",") if text.strip())


def _completed(address: IPAddress, subnets: Sequence[IPNetwork]) -> IPInterface:
    """Return an address with the prefix length of the first subnet that it lies in."""
    for subnet in subnets:
        if subnet.version == address.version and address in subnet:
            return ip_interface(f"{address}/{subnet.prefixlen}")
    raise invalid(f"{address} lies in no subnet of this network; give its prefix length, like {address}/24")


def mac_of(call: Call) -> str | None:
    """Return the MAC that somebody chose."""
    return call.conf.mac or call.args.get("MAC") or None


def labels_of(call: Call) -> dict[str, str]:
    """Return what the container is known by: the pod that it is, and what the configuration says.

    Podman gives the name of any container as that of a pod; a pod of Kubernetes has a namespace too.
    """
    is_pod = bool(call.args.get("K8S_POD_NAMESPACE"))
    pod = {label: call.args[key] for key, label in POD_LABELS.items() if is_pod and call.args.get(key)}
    return {**call.conf.labels, **pod}


def aliases_of(call: Call, host: Host) -> tuple[str, ...]:
    """Return the names that somebody asked for."""
    if call.conf.aliases and not host.domain:
        raise invalid("names are asked for (aliases), but this router answers none (--no-dns)")
    return tuple(_qualified(name, host.domain) for name in call.conf.aliases)


def pod_name_of(call: Call, host: Host) -> str | None:
    """Return the name that a pod has by being one; nobody chose it for DNS, which may not be able to hold it."""
    pod, namespace = call.args.get("K8S_POD_NAME"), call.args.get("K8S_POD_NAMESPACE")
    if not call.conf.pod_names or not pod or not host.domain:
        return None
    return _qualified(f"{pod}.{namespace}" if namespace else pod, host.domain)


def _qualified(name: str, domain: str) -> str:
    if f".{name}".rstrip(".").endswith(f".{domain}".rstrip(".")):
        return name.rstrip(".") + "."
    return name if name.endswith(".") else f"{name}.{domain}"


def masquerades(conf: NetConf) -> bool:
    """Say whether containers reach the world by the host's address; they do unless the configuration says no."""
    return conf.ip_masq is not False


def gateway_subnets(conf: NetConf, addresses: Sequence[Wish], host: Host) -> tuple[IPNetwork, ...]:
    """Return the subnets in which the host itself must be the gateway, where the configuration names none."""
    given = {gateway.version for gateway in conf.ipam.gateways}
    if conf.ipam.routes is not None and all(route.gateway is not None for route in conf.ipam.routes):
        return ()
    if conf.ipam.routes is None and conf.is_default_gateway is False:
        return ()
    subnets = [wish.subnet if isinstance(wish, AnyIn) else wish.interface.network for wish in addresses]
    in_range = [subnet for subnet in subnets if subnet is not None and any(
        subnet.version == ours.version and subnet.overlaps(ours) for ours in host.ranges)]
    return tuple(dict.fromkeys(subnet for subnet in in_range if subnet.version not in given))


def routes_of(conf: NetConf, gateways: Mapping[int, IPAddress], previous: Result | None) -> tuple[Route, ...]:
    """Return the routes of a container; `gateways` are those that serve where a route names none."""
    if conf.ipam.routes is not None:
        return completed(conf.ipam.routes, gateways)
    if conf.is_default_gateway is False:
        return ()
    before = () if previous is None else previous.routes
    return tuple(Route(EVERYWHERE[family], gateways[family]) for family in sorted(gateways)
                 if not has_default_route(before, family))


def completed(routes: Sequence[Route], gateways: Mapping[int, IPAddress]) -> tuple[Route, ...]:
    """Return the routes, each with a gateway where there is one of its family."""
    return tuple(Route(route.destination, route.gateway or gateways.get(route.destination.version), route.options)
                 for route in routes)
