"""The policies of a cluster and the pods of this host as a ruleset. Pure, and quick where little changed.

Only what governs a pod of this host becomes rules. A pod's profile is, in order: what the tier Admin says, what each
NetworkPolicy that selects it opens, and then the end for it where one selects it, else what the tier Baseline says.
The compiler remembers what it made of each policy and selector, by identity, so that one pod's change costs little;
a fresh compiler makes the same ruleset of the same cluster.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from weave.addresses import IPAddress
from weave.npc.blocks import text_of
from weave.npc.membership import NO_LABELS, Membership, Wanted
from weave.npc.model import Cluster, ClusterPolicy, Direction, Key, Labels, NetworkPolicy, Pod, Tier
from weave.npc.policy_chains import Compiled, compile_policy, compile_tier, refusing_chain
from weave.npc.ruleset import (
    FAMILIES,
    Chain,
    Goto,
    Jump,
    NftSet,
    Refusal,
    Rule,
    Ruleset,
    digest,
    map_name,
)
from weave.npc.selectors import selects


@dataclass(frozen=True, slots=True)
class Local:
    """What is attached to this host."""

    pods: Mapping[Key, tuple[IPAddress, ...]] = field(default_factory=dict)
    """Pods whose policy is known, with the addresses they really have."""
    others: frozenset[IPAddress] = frozenset()
    """Addresses of those that are no pods: nothing governs them."""


@dataclass(frozen=True, slots=True)
class _Profile:
    """What governs a pod in one direction."""

    admin: tuple[ClusterPolicy, ...] = ()
    policies: tuple[NetworkPolicy, ...] = ()
    baseline: tuple[ClusterPolicy, ...] = ()

    @property
    def identity(self) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(map(id, part)) for part in (self.admin, self.policies, self.baseline))


@dataclass(eq=False, slots=True)
class _Build:
    """A ruleset in the making."""

    sets: dict[str, NftSet] = field(default_factory=dict)
    chains: dict[str, Chain] = field(default_factory=dict)
    refusals: dict[str, Refusal] = field(default_factory=dict)
    profiles: dict[object, str] = field(default_factory=dict)
    compiled: dict[object, tuple[object, Compiled]] = field(default_factory=dict)
    wanted: dict[Wanted, None] = field(default_factory=dict)


class Compiler:
    """Make rulesets of clusters, one after the other."""

    def __init__(self) -> None:
        self._membership = Membership()
        self._compiled: dict[object, tuple[object, Compiled]] = {}
        self._sets: Mapping[str, NftSet] = {}
        self._policies: object = None
        self._cluster_policies: object = None
        self._by_namespace: dict[str, list[NetworkPolicy]] = {}
        self._tiers: dict[Tier, list[ClusterPolicy]] = {}
        self._profiles: dict[object, dict[Direction, _Profile]] = {}

    def compile(self, cluster: Cluster, local: Local) -> Ruleset:
        """Return what the kernel of this host shall hold."""
        self._membership.update(cluster)
        self._index(cluster)
        build = _Build()
        dispatch: dict[str, dict[str, str]] = {map_name(way, family): {} for way in Direction for family in FAMILIES}
        policed: dict[int, set[str]] = {family: set() for family in FAMILIES}
        for key in sorted(local.pods, key=lambda key: (key.namespace, key.name)):
            pod = cluster.pods.get(key)
            if pod is None or pod.host_network:
                continue
            for direction, profile in self._governing(pod, cluster).items():
                for address in local.pods[key]:
                    name = self._profile(build, profile, direction, address.version)
                    dispatch[map_name(direction, address.version)][text_of(address)] = name
                    policed[address.version].add(text_of(address))
        self._compiled, self._sets = build.compiled, build.sets
        self._membership.forget(build.wanted)
        return Ruleset(
            build.sets, build.chains, dispatch,
            {family: frozenset(found) for family, found in policed.items()},
            _admitted(local), build.refusals,
        )

    def _index(self, cluster: Cluster) -> None:
        """Forget who is governed by what when policies or the labels of namespaces changed."""
        state = (cluster.policies, cluster.cluster_policies, cluster.namespaces)
        if self._policies is not None and all(
                old is new for old, new in zip(self._policies, state, strict=True)):  # type: ignore[call-overload]
            return
        self._policies = state
        self._profiles = {}
        self._by_namespace = {}
        for key in sorted(cluster.policies, key=lambda key: (key.namespace, key.name)):
            self._by_namespace.setdefault(key.namespace, []).append(cluster.policies[key])
        ordered = sorted(cluster.cluster_policies.values(), key=lambda policy: (policy.priority, policy.name))
        self._tiers = {tier: [policy for policy in ordered if policy.tier is tier] for tier in Tier}

    def _governing(self, pod: Pod, cluster: Cluster) -> Mapping[Direction, _Profile]:
        """Return the profile of a pod in each direction in which something governs it."""
        likeness = (pod.namespace, frozenset(pod.labels.items()))
        found = self._profiles.get(likeness)
        if found is None:
            namespace = cluster.namespaces.get(pod.namespace)
            found = self._profiles[likeness] = self._look_up(pod, NO_LABELS if namespace is None else namespace.labels)
        return found

    def _look_up(self, pod: Pod, namespace: Labels) -> dict[Direction, _Profile]:
        policies = [policy for policy in self._by_namespace.get(pod.namespace, ()) if selects(policy.pods, pod.labels)]
        tiers = {tier: [policy for policy in found
                        if selects(policy.namespaces, namespace) and selects(policy.pods, pod.labels)]
                 for tier, found in self._tiers.items()}
        profiles = {
            Direction.EGRESS: _Profile(
                tuple(policy for policy in tiers[Tier.ADMIN] if policy.egress),
                tuple(policy for policy in policies if policy.egress is not None),
                tuple(policy for policy in tiers[Tier.BASELINE] if policy.egress)),
            Direction.INGRESS: _Profile(
                tuple(policy for policy in tiers[Tier.ADMIN] if policy.ingress),
                tuple(policy for policy in policies if policy.ingress is not None),
                tuple(policy for policy in tiers[Tier.BASELINE] if policy.ingress)),
        }
        return {way: profile for way, profile in profiles.items() if profile != _Profile()}

    def _profile(self, build: _Build, profile: _Profile, direction: Direction, family: int) -> str:
        """Have the chain of a profile in the build, and return its name."""
        identity = (direction, family, profile.identity)
        known = build.profiles.get(identity)
        if known is not None:
            return known
        rules = [Rule((), Jump(self._tier(build, profile.admin, direction, family)))] if profile.admin else []
        rules += [Rule((), Jump(self._policy(build, policy, direction, family)),
                       f"{policy.namespace}/{policy.name}") for policy in profile.policies]
        if profile.policies:
            rules.append(Rule((), Goto(_refuse(build, profile.policies, direction, family))))
        elif profile.baseline:
            rules.append(Rule((), Jump(self._tier(build, profile.baseline, direction, family))))
        chain = Chain(family, tuple(rules))
        name = build.profiles[identity] = f"{direction.value}-{digest(chain)}"
        build.chains[name] = chain
        return name

    def _policy(self, build: _Build, policy: NetworkPolicy, direction: Direction, family: int) -> str:
        at = (direction, family, id(policy))
        known = build.compiled.get(at) or self._compiled.get(at)
        return self._enter(build, at, policy, known[1] if known else compile_policy(policy, direction, family))

    def _tier(self, build: _Build, policies: Sequence[ClusterPolicy], direction: Direction, family: int) -> str:
        at = (direction, family, *map(id, policies))
        known = build.compiled.get(at) or self._compiled.get(at)
        return self._enter(build, at, policies, known[1] if known else compile_tier(policies, direction, family))

    def _enter(self, build: _Build, at: object, origin: object, compiled: Compiled) -> str:
        """Take a chain into the build, and first what it needs; `origin` stays alive as long as its identity counts."""
        if at in build.compiled:
            return compiled.name
        build.compiled[at] = (origin, compiled)
        for name, (kind, family, wanted) in compiled.wanted.items():
            if name in build.sets:
                continue
            build.wanted[wanted] = None
            elements = self._membership.elements(wanted, family)
            known = self._sets.get(name)
            build.sets[name] = known if known is not None and known.elements is elements else NftSet(kind, elements)
        build.sets.update(compiled.blocks)
        for name, (chain, refusal) in compiled.refusing.items():
            build.chains[name] = chain
            build.refusals[name.removeprefix("refuse-")] = refusal
        build.chains[compiled.name] = compiled.chain
        return compiled.name


def _refuse(build: _Build, policies: Iterable[NetworkPolicy], direction: Direction, family: int) -> str:
    words = ", ".join(f"{policy.namespace}/{policy.name}" for policy in policies)
    name, chain, tag, refusal = refusing_chain(direction, family, words)
    build.chains[name] = chain
    build.refusals[tag] = refusal
    return name


def _admitted(local: Local) -> dict[int, frozenset[str]]:
    addresses = {*local.others, *(address for found in local.pods.values() for address in found)}
    return {family: frozenset(text_of(address) for address in addresses if address.version == family)
            for family in FAMILIES}
