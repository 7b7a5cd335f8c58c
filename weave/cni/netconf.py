"""The network configuration that a runtime gives a plugin on its standard input, read and checked.

What steers us is read strictly: a key of ours with a value that makes no sense is refused, so that nothing that was
asked for is silently not done. The keys below `ipam` belong to the IPAM plugin that is named there; they are read only
where that is ours.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from weave.addresses import IPAddress, IPInterface, IPNetwork, parse_address, parse_interface
from weave.cni.errors import CniError
from weave.cni.reading import Fields, decode, invalid
from weave.cni.result import NO_DNS, Dns, Result, Route, read_dns, read_result, read_route
from weave.cni.versions import OLDEST
from weave.errors import LocalError

OUR_IPAM = "weave-ipam"
MAX_MTU = 65535
MAX_RATE_BITS = (1 << 63) - 1
"""What the reference implementation can hold; kubelet gives such numbers for `no limit`."""
_KEPT = 8
"""How many configurations are remembered: a runtime gives the same one, octet by octet, with nearly every container."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
_BARE_NAME = re.compile(r"[^/\s]{1,255}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One address that somebody chose; the prefix length may be left to us."""

    address: IPAddress
    interface: IPInterface | None = None


@dataclass(frozen=True, slots=True)
class Ipam:
    """Where addresses come from."""

    type: str = ""
    """Empty or `weave-ipam`: from this router."""
    subnets: tuple[IPNetwork, ...] = ()
    gateways: tuple[IPAddress, ...] = ()
    routes: tuple[Route, ...] | None = None
    """None: not given, and so the default one."""

    @property
    def is_ours(self) -> bool:
        """Say whether this router allocates."""
        return self.type in ("", OUR_IPAM)


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast packets may go one way, in bits a second and in bits at once; 0 is without limit."""

    rate: int = 0
    burst: int = 0


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """The capability `bandwidth`."""

    ingress: Rate = Rate()
    """To the container."""
    egress: Rate = Rate()

    def __bool__(self) -> bool:
        """Say whether anything is limited."""
        return bool(self.ingress.rate or self.egress.rate)


@dataclass(frozen=True, slots=True)
class NetConf:
    """One network configuration."""

    version: str
    name: str
    bridge: str = ""
    mtu: int | None = None
    hairpin: bool = True
    is_gateway: bool | None = None
    is_default_gateway: bool | None = None
    ip_masq: bool | None = None
    pod_names: bool = False
    """Register the name of a pod, `pod.namespace.` and our domain."""
    weave_dns: bool = False
    """Tell the runtime to have the container ask weave DNS."""
    ipam: Ipam = Ipam()
    dns: Dns = NO_DNS
    addresses: tuple[Wanted, ...] = ()
    mac: str = ""
    aliases: tuple[str, ...] = ()
    bandwidth: Bandwidth = Bandwidth()
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    previous: Result | None = None
    valid: frozenset[tuple[str, str]] | None = None
    """Container and interface of what GC should keep; None where it does not say."""


@lru_cache(_KEPT)
def read_version(data: bytes) -> str:
    """Return the version a configuration asks for, as far as it can be read at all."""
    try:
        return decode(data).text("cniVersion") or OLDEST
    except CniError:
        return OLDEST


@lru_cache(_KEPT)
def read_netconf(data: bytes) -> NetConf:
    """Return the configuration; raise `CniError` where it cannot be used."""
    top = decode(data)
    runtime, args = top.fields("runtimeConfig"), top.fields("args").fields("cni")
    return NetConf(
        version=top.text("cniVersion") or OLDEST,
        name=_network_name(top.text("name")),
        bridge=top.text("bridge"),
        mtu=top.number("mtu", MAX_MTU) or None,
        hairpin=top.flag("hairpinMode") is not False,
        is_gateway=top.flag("isGateway"),
        is_default_gateway=top.flag("isDefaultGateway"),
        ip_masq=top.flag("ipMasq"),
        pod_names=top.flag("podNames") is True,
        weave_dns=top.flag("weaveDNS") is True,
        ipam=_read_ipam(top.fields("ipam")),
        dns=_read_runtime_dns(runtime.fields("dns")).over(read_dns(top.fields("dns"))),
        addresses=_read_addresses(runtime, "ips") or _read_addresses(args, "ips"),
        mac=runtime.text("mac") or args.text("mac"),
        aliases=_read_aliases(runtime, top.text("name")),
        bandwidth=_read_bandwidth(runtime.fields("bandwidth")),
        labels=_read_labels(args),
        previous=read_result(top.fields("prevResult")) if top.has("prevResult") else None,
        valid=_read_valid(top),
    )


def _network_name(name: str) -> str:
    if not name:
        raise invalid("name is missing: a network configuration needs the name of the network")
    if not _NAME.fullmatch(name):
        raise invalid(f"{name[:80]!r} is no name of a network: use letters, digits, '_', '.' and '-', a letter or "
                      "digit first")
    return name


def _read_ipam(fields: Fields) -> Ipam:
    kind = fields.text("type")
    if kind and (not _BARE_NAME.fullmatch(kind) or kind in (".", "..")):
        raise invalid(f"ipam.type {kind[:80]!r} should be the bare name of a plugin")
    if not Ipam(kind).is_ours:
        return Ipam(kind)
    subnets = _one_of_each_family([fields.network("subnet"), fields.network("subnet6")], "ipam.subnet")
    gateways = [item for item in (fields.address("gateway"), fields.address("gateway6")) if item is not None]
    routes = tuple(read_route(item) for item in fields.objects("routes")) if fields.has("routes") else None
    return Ipam(kind, subnets, tuple(gateways), routes)


def _one_of_each_family(given: list[IPNetwork | None], what: str) -> tuple[IPNetwork, ...]:
    found = [item for item in given if item is not None]
    if len({item.version for item in found}) < len(found):
        raise invalid(f"{what} and {what}6 are of the same family")
    return tuple(found)


def _read_addresses(fields: Fields, key: str) -> tuple[Wanted, ...]:
    return tuple(dict.fromkeys(parse_wanted(text, fields.name(key)) for text in fields.texts(key)))


def parse_wanted(text: str, where: str) -> Wanted:
    """Return an address that somebody chose, with or without prefix length."""
    try:
        if "/" not in text:
            return Wanted(parse_address(text))
        interface = parse_interface(text)
    except LocalError as exc:
        raise invalid(f"{where}: {exc}") from exc
    return Wanted(interface.ip, interface)


def _read_runtime_dns(fields: Fields) -> Dns:
    return Dns(fields.texts("servers"), "", fields.texts("searches"), fields.texts("options"))


def _read_bandwidth(fields: Fields) -> Bandwidth:
    return Bandwidth(_read_rate(fields, "ingress"), _read_rate(fields, "egress"))


def _read_rate(fields: Fields, way: str) -> Rate:
    rate = fields.number(f"{way}Rate", MAX_RATE_BITS) or 0
    burst = fields.number(f"{way}Burst", MAX_RATE_BITS) or 0
    if bool(rate) != bool(burst):
        raise invalid(f"{fields.name(f'{way}Rate')} and {fields.name(f'{way}Burst')} should be given together")
    return Rate(rate, burst)


def _read_aliases(runtime: Fields, network: str) -> tuple[str, ...]:
    """Return the names of a container: a list by the conventions of CNI, a list for each network by Podman."""
    if isinstance(runtime.values.get("aliases"), dict):
        return runtime.fields("aliases").texts(network)
    return runtime.texts("aliases")


def _read_labels(args: Fields) -> dict[str, str]:
    return {item.text("key"): item.text("value") for item in args.objects("labels")}


def _read_valid(top: Fields) -> frozenset[tuple[str, str]] | None:
    key = "cni.dev/valid-attachments"
    if not top.has(key):
        return None
    return frozenset((item.text("containerID"), item.text("ifname")) for item in top.objects(key))
