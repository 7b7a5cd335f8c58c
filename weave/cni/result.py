"""What a successful ADD tells: interfaces, addresses, routes, resolvers; in the shape of every version.

    0.1.0, 0.2.0    ip4, ip6: one address each, with its gateway and routes; dns
    0.3.0 to 0.4.0  interfaces, ips with `version`, routes, dns
    1.0.0           the same without `version`
    1.1.0           interfaces with `mtu`, `socketPath`, `pciID`, routes with options
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from weave.addresses import IPAddress, IPInterface, IPNetwork
from weave.cni import versions
from weave.cni.reading import Fields, invalid

MAX_NUMBER = (1 << 32) - 1
_ROUTE_OPTIONS = ("mtu", "advmss", "priority", "table", "scope")


@dataclass(frozen=True, slots=True)
class Interface:
    """An interface that a plugin made: in the container where it has a sandbox, else on the host."""

    name: str
    mac: str = ""
    mtu: int = 0
    sandbox: str = ""
    socket_path: str = ""
    pci_id: str = ""


@dataclass(frozen=True, slots=True)
class Address:
    """An address, and which of the interfaces has it."""

    interface: IPInterface
    gateway: IPAddress | None = None
    index: int | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """A route inside the container."""

    destination: IPNetwork
    gateway: IPAddress | None = None
    options: Mapping[str, int] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Dns:
    """What a container should ask for names."""

    nameservers: tuple[str, ...] = ()
    domain: str = ""
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def over(self, other: "Dns") -> "Dns":
        """Return this, completed by another."""
        return Dns(self.nameservers or other.nameservers, self.domain or other.domain, self.search or other.search,
                   self.options or other.options)


NO_DNS = Dns()


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a plugin."""

    interfaces: tuple[Interface, ...] = ()
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    dns: Dns = NO_DNS

    def followed_by(self, later: "Result") -> "Result":
        """Return what this and a later plugin of the chain have made together."""
        moved = tuple(item if item.index is None else replace(item, index=item.index + len(self.interfaces))
                      for item in later.addresses)
        return Result((*self.interfaces, *later.interfaces), (*self.addresses, *moved), (*self.routes, *later.routes),
                      later.dns.over(self.dns))


# -- reading -----------------------------------------------------------------------------------------------------------


def read_result(fields: Fields) -> Result:
    """Return a result of any version; raise `CniError` for what is none."""
    if fields.has("ip4") or fields.has("ip6"):
        return _read_oldest(fields)
    interfaces = tuple(Interface(
        item.text("name"), item.text("mac"), item.number("mtu", MAX_NUMBER) or 0, item.text("sandbox"),
        item.text("socketPath"), item.text("pciID")) for item in fields.objects("interfaces"))
    addresses = tuple(Address(_needed(item, "address"), item.address("gateway"), _index(item, len(interfaces)))
                      for item in fields.objects("ips"))
    return Result(interfaces, addresses, _read_routes(fields), read_dns(fields.fields("dns")))


def _index(item: Fields, count: int) -> int | None:
    index = item.number("interface", MAX_NUMBER)
    if index is not None and index >= count:
        raise invalid(f"{item.name('interface')} is {index}, but there are {count} interfaces")
    return index


def _read_oldest(fields: Fields) -> Result:
    found = [fields.fields(key) for key in ("ip4", "ip6") if fields.has(key)]
    addresses = tuple(Address(_needed(item, "ip"), item.address("gateway")) for item in found)
    routes = tuple(route for item in found for route in _read_routes(item))
    return Result((), addresses, routes, read_dns(fields.fields("dns")))


def _needed(item: Fields, key: str) -> IPInterface:
    found = item.interface(key)
    if found is None:
        raise invalid(f"{item.name(key)} is missing")
    return found


def _read_routes(fields: Fields) -> tuple[Route, ...]:
    return tuple(read_route(item) for item in fields.objects("routes"))


def read_route(item: Fields) -> Route:
    """Return a route of a result or of a configuration."""
    destination = item.network("dst")
    if destination is None:
        raise invalid(f"{item.name('dst')} is missing")
    gateway = item.address("gw")
    if gateway is not None and gateway.version != destination.version:
        raise invalid(f"{item.name('gw')} {gateway} is of another family than {destination}")
    options = {key: item.number(key, MAX_NUMBER) for key in _ROUTE_OPTIONS}
    return Route(destination, gateway, {key: value for key, value in options.items() if value})


def read_dns(fields: Fields) -> Dns:
    """Return resolvers, of a result or of a configuration."""
    return Dns(fields.texts("nameservers"), fields.text("domain"), fields.texts("search"), fields.texts("options"))


# -- writing -----------------------------------------------------------------------------------------------------------


def result_value(result: Result, version: str) -> dict[str, object]:
    """Return the JSON object of a result in one version; what that version cannot say is left out."""
    body: dict[str, object] = {"cniVersion": version}
    if not versions.has_interfaces(version):
        body |= _oldest_value(result)
    else:
        if result.interfaces:
            body["interfaces"] = [_interface_value(item, version) for item in result.interfaces]
        body["ips"] = [_address_value(item, version) for item in result.addresses]
        if result.routes:
            body["routes"] = [_route_value(item, version) for item in result.routes]
    return {**body, "dns": dns_value(result.dns)}


def _oldest_value(result: Result) -> dict[str, object]:
    """Return the first address of each family with the routes of that family."""
    body: dict[str, object] = {}
    for family in (4, 6):
        found = [item for item in result.addresses if item.interface.version == family]
        if found:
            body[f"ip{family}"] = {
                "ip": str(found[0].interface),
                **({"gateway": str(found[0].gateway)} if found[0].gateway is not None else {}),
                "routes": [_route_value(route, versions.OLDEST) for route in result.routes
                           if route.destination.version == family],
            }
    return body


def _interface_value(item: Interface, version: str) -> dict[str, object]:
    details = {"mtu": item.mtu, "socketPath": item.socket_path, "pciID": item.pci_id}
    return {"name": item.name, **_present({"mac": item.mac}),
            **(_present(details) if versions.has_details(version) else {}), **_present({"sandbox": item.sandbox})}


def _address_value(item: Address, version: str) -> dict[str, object]:
    family = {"version": str(item.interface.version)} if versions.has_family(version) else {}
    index = {} if item.index is None else {"interface": item.index}
    gateway = {} if item.gateway is None else {"gateway": str(item.gateway)}
    return {**family, **index, "address": str(item.interface), **gateway}


def _route_value(route: Route, version: str) -> dict[str, object]:
    gateway = {} if route.gateway is None else {"gw": str(route.gateway)}
    return {"dst": str(route.destination), **gateway, **(route.options if versions.has_details(version) else {})}


def dns_value(dns: Dns) -> dict[str, object]:
    """Return the JSON object of resolvers."""
    return _present({"nameservers": list(dns.nameservers), "domain": dns.domain, "search": list(dns.search),
                     "options": list(dns.options)})


def _present(values: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in values.items() if value}


def has_default_route(routes: Sequence[Route], family: int) -> bool:
    """Say whether one of the routes is the default of a family."""
    return any(route.destination.version == family and not route.destination.prefixlen for route in routes)
