"""The compiled rules decide as the evaluator does, and small changes lead where a fresh start would."""

import gc
from collections.abc import Iterator
from dataclasses import replace
from types import FunctionType, ModuleType

from hypothesis import given, settings

from tests.unit.npc.random_clusters import OUTSIDE, PORTS, clusters
from weave.addresses import IPAddress
from weave.npc.compiler import Compiler, Local
from weave.npc.evaluator import Connection, Policies
from weave.npc.evaluator import judge as evaluate
from weave.npc.model import (
    Cluster,
    Direction,
    Key,
    NamedPort,
    NetworkPolicy,
    Operator,
    Pod,
    PodPeer,
    Protocol,
    Requirement,
    Rule,
    Selector,
)
from weave.npc.nft_text import full_text
from weave.npc.ruleset import Ruleset
from weave.npc.ruleset_change import difference
from weave.npc.ruleset_trace import Packet, passes, trace
from weave.npc.selectors import make_selector


def everything_local(cluster: Cluster) -> Local:
    return Local({key: pod.addresses for key, pod in cluster.pods.items()})


def compiled(cluster: Cluster) -> Ruleset:
    return Compiler().compile(cluster, everything_local(cluster))


def ends(cluster: Cluster) -> list[IPAddress]:
    found = [address for pod in cluster.pods.values() for address in pod.addresses]
    return [*found, *OUTSIDE]


def packets(cluster: Cluster) -> Iterator[Packet]:
    for source in ends(cluster):
        for destination in ends(cluster):
            if source.version != destination.version:
                continue
            yield Packet(source, destination)
            for protocol in Protocol:
                for port in PORTS:
                    yield Packet(source, destination, protocol, port)


@settings(max_examples=25, deadline=None)
@given(clusters())
def test_rules_decide_as_the_evaluator_does(cluster: Cluster) -> None:
    rules, policies = compiled(cluster), Policies(cluster)
    for packet in packets(cluster):
        connection = Connection(policies.end(packet.source), policies.end(packet.destination), packet.protocol,
                                packet.port)
        assert passes(rules, packet) == evaluate(policies, connection).allowed, packet


@settings(max_examples=25, deadline=None)
@given(clusters(), clusters(), clusters())
def test_a_compiler_that_knew_other_clusters_makes_the_same_rules(one: Cluster, two: Cluster, three: Cluster) -> None:
    compiler = Compiler()
    for cluster in (one, replace(one, pods=two.pods), replace(two, policies=one.policies), three,
                    replace(three, namespaces=one.namespaces), replace(three, nodes={}), three):
        assert compiler.compile(cluster, everything_local(cluster)) == compiled(cluster)


@settings(max_examples=25, deadline=None)
@given(clusters(), clusters())
def test_a_change_leads_to_the_rules_it_was_made_for(old: Cluster, new: Cluster) -> None:
    before, after = compiled(old), compiled(new)
    change = difference(before, after)
    assert difference(before, compiled(old)).empty
    kept = {name: chain for name, chain in before.chains.items() if name not in change.dead_chains}
    assert {**kept, **change.chains} == dict(after.chains)
    held = {(name, key) for name, found in before.sets.items() for key in found.elements}
    held |= {(name, key) for name, found in change.sets.items() for key in found.elements}
    held -= {(element.name, element.key) for element in change.removed}
    held |= {(element.name, element.key) for element in change.added}
    wanted = {(name, key) for name, found in after.sets.items() for key in found.elements}
    assert wanted <= held
    assert {name for name, _ in held - wanted if name.startswith(("pods", "port", "nodes", "block"))} \
        <= set(change.dead_sets)


@settings(max_examples=25, deadline=None)
@given(clusters())
def test_chains_come_after_those_they_jump_to(cluster: Cluster) -> None:
    known: set[str] = set()
    for name, chain in compiled(cluster).chains.items():
        for rule in chain.rules:
            assert getattr(rule.verdict, "chain", None) in {None, *known}
        known.add(name)


def pod(name: str, address: IPAddress) -> Pod:
    return Pod("default", name, {"app": name}, (address,))


def test_what_selects_no_pod_of_this_host_costs_nothing() -> None:
    cluster = Cluster({Key("default", "a"): pod("a", OUTSIDE[0])}, policies={
        Key("default", "deny"): NetworkPolicy("default", "deny", Selector(), (), None)})
    assert compiled(cluster).chains
    assert Compiler().compile(cluster, Local()) == replace(
        Ruleset(), dispatch={"egress4": {}, "egress6": {}, "ingress4": {}, "ingress6": {}},
        policed={4: frozenset(), 6: frozenset()}, admitted={4: frozenset(), 6: frozenset()})


def test_a_pod_more_changes_elements_alone() -> None:
    everybody = (Rule(None, None),)
    cluster = Cluster({Key("default", "a"): pod("a", OUTSIDE[0])}, policies={
        Key("default", "open"): NetworkPolicy("default", "open", Selector(), everybody, None)})
    more = replace(cluster, pods={**cluster.pods, Key("default", "b"): pod("b", OUTSIDE[1])})
    third = replace(more, pods={**more.pods, Key("default", "c"): Pod("default", "c", {}, (OUTSIDE[0] + 1,))})
    change = difference(compiled(more), compiled(third))
    assert not change.structural
    assert sorted(element.name for element in change.added) == ["admitted4", "ingress4", "itself4"]


def test_what_is_gone_is_not_remembered() -> None:
    compiler = Compiler()

    def churn(numbers: range) -> None:
        """Let jobs come and go, each with labels of its own, a policy, and a port that it names."""
        for number in numbers:
            name = f"job-{number}"
            chosen = make_selector([Requirement("app", Operator.IN, frozenset({name}))])
            rule = Rule((PodPeer(None, chosen),), (NamedPort(Protocol.TCP, name),))
            cluster = Cluster({Key("default", name): pod(name, OUTSIDE[0])}, policies={
                Key("default", name): NetworkPolicy("default", name, Selector(), (rule,), None)})
            compiler.compile(cluster, everything_local(cluster))
            compiler.compile(replace(cluster, pods={}), Local())
        compiler.compile(Cluster(), Local())

    churn(range(10))
    before = objects_of(compiler)
    churn(range(10, 100))
    assert objects_of(compiler) <= before


def objects_of(root: object) -> int:
    """Return how many objects a value keeps alive."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        inner = waiting.pop()
        if id(inner) not in seen and not isinstance(inner, type | ModuleType | FunctionType):
            seen.add(id(inner))
            waiting += gc.get_referents(inner)
    return len(seen)


def test_names_from_outside_are_harmless_in_the_words_of_nft() -> None:
    evil = 'ev"il; drop'
    own = NetworkPolicy(evil, evil, Selector(), (Rule((PodPeer(None, Selector()),), (NamedPort(None, evil),)),), ())
    shared = replace(own, name="other")
    cluster = Cluster({Key(evil, "a"): Pod(evil, "a", {evil: evil}, (OUTSIDE[0],))},
                      policies={Key(evil, evil): own, Key(evil, "other"): shared})
    assert evil[:5] not in full_text(compiled(cluster), bridge="weave", ports="vethwe", multicast=True)


def test_a_refusal_tells_the_policies_that_isolate() -> None:
    cluster = Cluster({Key("default", "a"): pod("a", OUTSIDE[0])}, policies={
        Key("default", name): NetworkPolicy("default", name, Selector(), (), None) for name in ("one", "two")})
    rules = compiled(cluster)
    [tag] = trace(rules, Packet(OUTSIDE[0] + 5, OUTSIDE[0]), Direction.INGRESS).tags
    assert rules.refusals[tag].words == "default/one, default/two"
