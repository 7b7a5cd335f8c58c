"""Endpoints as the router tells them, and what of them still holds while it starts again. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_interface

from weave.addresses import IPAddress
from weave.errors import RemoteError
from weave.labels import namespaced, pod_of
from weave.npc.model import Key, Labels

HOST = "weave:expose"
"""What the router calls the addresses of a host itself."""
GRACE_S = 15.0
"""A router that starts again hears of its peers' endpoints within a second or two; meanwhile they are not gone."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One interface on the network."""

    mac: str
    container: str
    addresses: tuple[IPAddress, ...]
    is_local: bool
    host: str
    """Nickname of the router that it is attached to."""
    labels: Labels = field(default_factory=dict)
    peer: str = ""
    """Name of that router, which no other has; nicknames may be alike."""

    @property
    def pod(self) -> Key | None:
        """Return the pod that it belongs to, None for what Kubernetes does not know."""
        pod = pod_of(self.labels)
        return None if pod is None else Key(*pod)

    @property
    def is_host(self) -> bool:
        """Tell whether it is no container but a host: its bridge, what it exposed."""
        return self.container == HOST

    @property
    def key(self) -> Key:
        """Return what it is called where every container is a pod; another host may have one that is called so too."""
        return Key(*namespaced(self.labels, self.container))


def read_endpoints(value: object) -> tuple[int, list[Endpoint]]:
    """Return the answer to `GET /endpoints`, with its generation; raise `RemoteError` for what is none."""
    if not isinstance(value, Mapping) or not isinstance(value.get("endpoints"), list):
        raise RemoteError("the router's answer holds no endpoints; are router and policy controller of one version?")
    generation = value.get("generation")
    if not isinstance(generation, int):
        raise RemoteError("the router's answer has no generation; are router and policy controller of one version?")
    return generation, [_read(item) for item in value["endpoints"]]


def _read(item: object) -> Endpoint:
    try:
        assert isinstance(item, Mapping)
        labels = item["labels"]
        assert isinstance(labels, Mapping)
        return Endpoint(
            str(item["mac"]), str(item["container"]),
            tuple(sorted((ip_interface(str(word)).ip for word in item["addresses"]),
                         key=lambda address: (address.version, int(address)))),
            bool(item["local"]), str(item["nickname"]), {str(key): str(text) for key, text in labels.items()},
            str(item["peer"]))
    except (AssertionError, KeyError, TypeError, ValueError) as exc:
        raise RemoteError(f"the router tells of an endpoint that is none ({exc!r}); are router and policy controller "
                          "of one version?") from exc


@dataclass(slots=True)
class EndpointBook:
    """Own the endpoints that count, over the lives of the router."""

    told: bool = False
    """The router has answered at least once."""
    _current: dict[str, Endpoint] = field(default_factory=dict)
    _before: dict[str, Endpoint] = field(default_factory=dict)
    """Other hosts' endpoints of the router's former life."""
    _until: float = 0.0

    def restarted(self, now: float) -> None:
        """Hear that the next endpoints come from another life of the router."""
        remote = {mac: endpoint for mac, endpoint in self._current.items() if not endpoint.is_local}
        self._before = {**(self._before if now < self._until else {}), **remote}
        self._until = now + GRACE_S

    def take(self, endpoints: Sequence[Endpoint]) -> None:
        """Take over what the router tells now."""
        self.told = True
        self._current = {endpoint.mac: self._same(endpoint) for endpoint in endpoints}

    def deadline(self) -> float | None:
        """Return when something changes by itself."""
        return self._until if self._before else None

    def endpoints(self, now: float) -> list[Endpoint]:
        """Return what counts, ordered."""
        if now >= self._until:
            self._before = {}
        held = {mac: endpoint for mac, endpoint in self._before.items() if mac not in self._current}
        return [endpoint for _, endpoint in sorted({**held, **self._current}.items())]

    def _same(self, endpoint: Endpoint) -> Endpoint:
        """Return the value known before where nothing changed: what is compared by identity stays the same."""
        known = self._current.get(endpoint.mac)
        return known if known == endpoint else endpoint
