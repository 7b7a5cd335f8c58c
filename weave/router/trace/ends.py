"""Which interfaces two words mean: an address, a host, a pod, a container, a name. Pure.

A word may stand for several addresses: those of both families, those of all containers behind a name. Of all pairs the
first counts whose addresses are of one subnet, or at least of one family, IPv4 before IPv6.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface

from weave.addresses import IPAddress, IPNetwork, parse_address
from weave.api.errors import NotFound
from weave.api.report import EndpointReport, Report
from weave.api.trace import TraceEndReport
from weave.errors import LocalError
from weave.labels import namespaced
from weave.router.addressing import EXPOSE_IDENT

THIS_HOST = "host"
"""The word for the host that is asked."""
MIN_PREFIX_CHARACTERS = 3
"""Of the id of a container, as in `weave ps`."""


@dataclass(frozen=True, slots=True)
class End:
    """One address of one interface."""

    word: str
    address: IPAddress
    endpoint: EndpointReport | None
    """None: nobody on the network has this address."""

    @property
    def network(self) -> IPNetwork | None:
        """Return the subnet that the interface has the address in."""
        if self.endpoint is None:
            return None
        return next(found.network for found in map(ip_interface, self.endpoint["Addresses"])
                    if found.ip == self.address)

    @property
    def is_host(self) -> bool:
        """Say whether it is no container but a host."""
        return self.endpoint is not None and self.endpoint["ContainerID"] == EXPOSE_IDENT

    @property
    def is_local(self) -> bool:
        """Say whether it is on the host that is asked."""
        return self.endpoint is not None and self.endpoint["Local"]

    @property
    def title(self) -> str:
        """Return what to call it in a sentence."""
        if self.endpoint is None:
            return str(self.address)
        return self.endpoint["NickName"] if self.is_host else self.word

    def report(self) -> TraceEndReport:
        """Return it as JSON."""
        found = self.endpoint
        if found is None:
            return {"Word": self.word, "Address": str(self.address), "ContainerID": "", "Interface": "", "MAC": "",
                    "Peer": "", "NickName": ""}
        return {"Word": self.word, "Address": str(self.address), "ContainerID": found["ContainerID"],
                "Interface": found["Interface"], "MAC": found["MAC"], "Peer": found["Peer"],
                "NickName": found["NickName"]}


def find_ends(report: Report, source: str, destination: str) -> tuple[End, End]:
    """Return the two ends that these words mean; raise `LocalError` where they mean none, or one that cannot send."""
    senders, receivers = _find(report, source), _find(report, destination)
    pairs = [(one, other) for one in senders for other in receivers
             if one.address.version == other.address.version and one.address != other.address]
    if not pairs:
        if {end.address for end in senders} & {end.address for end in receivers}:
            raise LocalError(f"{source} and {destination} are the same")
        raise LocalError(f"{source} and {destination} have no address family in common, so they cannot talk")
    one, other = min(pairs, key=lambda pair: (pair[0].network is None or pair[1].address not in pair[0].network,
                                              pair[0].address.version))
    if one.endpoint is None:
        raise NotFound(f"nobody on the network has {one.address}, and a trace begins at a container or a host; "
                       "`weave status endpoints` lists them")
    return one, other


def at_address(report: Report, address: IPAddress, word: str = "") -> End:
    """Return the end that has an address."""
    beginning = f"{address}/"  # all are written alike, and a name may stand for many addresses among many endpoints
    found = (row for row in report["Endpoints"] if any(text.startswith(beginning) for text in row["Addresses"]))
    return End(word or str(address), address, next(found, None))


def _find(report: Report, word: str) -> list[End]:
    """Return all that a word may mean, the likeliest first, never none."""
    for candidates in (_by_address, _by_host, _by_pod, _by_container, _by_name):
        found = list(candidates(report, word))
        if found:
            return found
    if any(word in (peer["Name"], peer["NickName"]) for peer in report["Router"]["Peers"]):
        raise NotFound(f"the host {word} has no address on the network; `weave expose` there gives it one")
    raise NotFound(f"{word!r} is no address, host, pod, container or name on this network; `weave status endpoints` "
                   "and `weave status dns` list them")


def _by_address(report: Report, word: str) -> Iterator[End]:
    try:
        address = parse_address(word)
    except LocalError:
        return
    yield at_address(report, address, word)


def _by_host(report: Report, word: str) -> Iterator[End]:
    for row in report["Endpoints"]:
        is_meant = row["Local"] if word == THIS_HOST else word in (row["Peer"], row["NickName"])
        if row["ContainerID"] == EXPOSE_IDENT and is_meant:
            yield from _ends(word, row)
            return
    if word == THIS_HOST:
        raise NotFound("this host has no address on the network; `weave expose` gives it one")


def _by_pod(report: Report, word: str) -> Iterator[End]:
    namespace, slash, name = word.partition("/")
    if slash:
        for row in report["Endpoints"]:
            if (namespace, name) == namespaced(row["Labels"], row["ContainerID"]):
                yield from _ends(word, row)


def _by_container(report: Report, word: str) -> Iterator[End]:
    rows = [row for row in report["Endpoints"] if row["ContainerID"] == word] or [
        row for row in report["Endpoints"]
        if len(word) >= MIN_PREFIX_CHARACTERS and row["ContainerID"].startswith(word)]
    containers = sorted({row["ContainerID"] for row in rows})
    if len(containers) > 1:
        raise LocalError(f"{len(containers)} containers are called {word}...: {', '.join(containers[:5])}; say which")
    for row in rows:
        yield from _ends(word, row)


def _by_name(report: Report, word: str) -> Iterator[End]:
    dns = report["DNS"]
    if dns is None:
        return
    wanted = word.lower().rstrip(".")
    names = {wanted, f"{wanted}.{dns['Domain'].rstrip('.')}"}
    rows = [row for row in dns["Entries"] if row["Hostname"].lower().rstrip(".") in names]
    for row in sorted(rows, key=lambda row: not row["Reachable"]):
        yield at_address(report, ip_address(row["Address"]), word)


def _ends(word: str, row: EndpointReport) -> Iterator[End]:
    for address in map(ip_interface, row["Addresses"]):
        yield End(word, address.ip, row)
