"""Cases, steps, worlds and probes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.conformance.policy.naive import allows

Manifest = Mapping[str, Any]
Addresses = Callable[[str], str]
"""From `namespace/pod` to the address that the pod shall have."""


@dataclass(frozen=True, slots=True, order=True)
class Probe:
    """One connection; the ends are `namespace/pod`."""

    source: str
    destination: str
    protocol: str
    port: int


@dataclass(frozen=True, slots=True)
class Id:
    """What identifies an object; those without a namespace have an empty one."""

    kind: str
    namespace: str
    name: str


World = Mapping[Id, Manifest]


@dataclass(frozen=True, slots=True)
class Step:
    """Manifests to apply (create or replace) and to delete, and then to probe."""

    apply: Sequence[Manifest] = ()
    delete: Sequence[Id] = ()
    expected: Mapping[Probe, bool] | None = None
    """What the authors of the suite expect; None: what the naive matcher says."""
    only: tuple[str, int] | None = None
    """Probe this transport and port alone."""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """A story in steps."""

    suite: str
    category: str
    name: str
    world: World
    steps: Sequence[Step]
    tags: frozenset[str] = field(default_factory=frozenset)


def identify(manifest: Manifest) -> Id:
    return Id(manifest["kind"], manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"])


def apply(step: Step, world: World) -> World:
    """Return the world after a step; what is in a deleted namespace goes with it."""
    after = {**world, **{identify(manifest): manifest for manifest in step.apply}}
    for gone in step.delete:
        assert gone in after, f"{gone} is not there"
        del after[gone]
        if gone.kind == "Namespace":
            after = {key: value for key, value in after.items() if key.namespace != gone.name}
    return after


def probes(world: World) -> list[Probe]:
    """Return every connection between two pods, over every port that the destination has."""
    pods = sorted(named(world, "Pod"), key=lambda pair: pair[0])
    return [Probe(source, destination, protocol, port) for source, _ in pods for destination, manifest in pods
            for protocol, port in ports(manifest)]


def named(world: World, kind: str) -> Iterator[tuple[str, Manifest]]:
    """Yield the objects of a kind by `namespace/name`."""
    for key, manifest in world.items():
        if key.kind == kind:
            yield f"{key.namespace}/{key.name}", manifest


def ports(pod: Manifest) -> list[tuple[str, int]]:
    return [(port["protocol"], port["containerPort"])
            for container in pod["spec"]["containers"] for port in container["ports"]]


def expected(step: Step, world: World) -> dict[Probe, bool]:
    """Return what must happen in the world after a step."""
    if step.expected is not None:
        return dict(step.expected)
    return {probe: allows(world.values(), probe.source, probe.destination, probe.protocol, probe.port)
            for probe in probes(world) if step.only in (None, (probe.protocol, probe.port))}
