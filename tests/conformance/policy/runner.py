"""Run cases on an engine: something that says of every probe in a world whether it passes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.conformance.policy.case import Case, Probe, World, apply, expected
from tests.conformance.policy.naive import allows
from weave.addresses import IPAddress
from weave.npc.compiler import Compiler, Local
from weave.npc.evaluator import Policies, connect, judge
from weave.npc.manifest import gather, parse
from weave.npc.model import Cluster, Key, Protocol
from weave.npc.ruleset_trace import Packet, passes

Engine = Callable[[World, Sequence[Probe]], Mapping[Probe, bool]]


def cluster(world: World) -> Cluster:
    """Return the values of a world."""
    return gather([parse(manifest) for manifest in world.values()])


def by_evaluator(world: World, probes: Sequence[Probe]) -> Mapping[Probe, bool]:
    policies = Policies(cluster(world))
    pods = policies.cluster.pods

    def is_allowed(probe: Probe) -> bool:
        source, destination = (pods[Key(*end.split("/"))] for end in (probe.source, probe.destination))
        return judge(policies, connect(source, destination, Protocol(probe.protocol), probe.port)).allowed

    return {probe: is_allowed(probe) for probe in probes}


def by_naive_matcher(world: World, probes: Sequence[Probe]) -> Mapping[Probe, bool]:
    return {probe: allows(world.values(), probe.source, probe.destination, probe.protocol, probe.port)
            for probe in probes}


def by_compiler(world: World, probes: Sequence[Probe]) -> Mapping[Probe, bool]:
    """Judge by the ruleset, worked out without a kernel; an end without an address of its own is its node's."""
    known = cluster(world)
    rules = Compiler().compile(known, Local({key: pod.addresses for key, pod in known.pods.items()}))

    def address(end: str) -> IPAddress:
        return known.pods[Key(*end.split("/"))].addresses[0]

    return {probe: passes(rules, Packet(address(probe.source), address(probe.destination), Protocol(probe.protocol),
                                        probe.port)) for probe in probes}


ENGINES: Mapping[str, Engine] = {"evaluator": by_evaluator, "naive matcher": by_naive_matcher, "compiler": by_compiler}


@dataclass(frozen=True, slots=True)
class Failure:
    """A step of a case that came out otherwise."""

    step: int
    wrong: Sequence[Probe]
    """Probes that should have been allowed and were not, or the other way round."""


def run(case: Case, engine: Engine) -> tuple[int, list[Failure]]:
    """Return how many probes were made, and the steps that failed."""
    world, made, failures = case.world, 0, []
    for index, step in enumerate(case.steps):
        world = apply(step, world)
        wanted = expected(step, world)
        seen = engine(world, list(wanted))
        made += len(wanted)
        wrong = [probe for probe, allowed in wanted.items() if seen.get(probe) is not allowed]
        if wrong:
            failures.append(Failure(index, wrong))
    return made, failures


@dataclass(slots=True)
class Tally:
    """What became of a category."""

    cases: int = 0
    passed: int = 0
    steps: int = 0
    probes: int = 0


def tally(cases: Iterable[Case], engine: Engine,
          report: Callable[[Case, Sequence[Failure]], None] = lambda _case, _failures: None,
          ) -> dict[tuple[str, str], Tally]:
    """Return the tallies of the categories."""
    found: dict[tuple[str, str], Tally] = {}
    for case in cases:
        mine = found.setdefault((case.suite, case.category), Tally())
        made, failures = run(case, engine)
        mine.cases += 1
        mine.passed += not failures
        mine.steps += len(case.steps)
        mine.probes += made
        if failures:
            report(case, failures)
    return found
