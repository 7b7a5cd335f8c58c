"""The policies of a cluster and the pods of this host as a ruleset. Pure, and quick where little changed.

Only what governs a pod of this host becomes rules. A pod's profile is, in order: what the tier Admin says, what each
NetworkPolicy that selects it opens, and then the end for it where one selects it, else what the tier Baseline says.
The compiler remembers what it made of each policy and selector, by identity, so that one pod's change costs little;
a fresh compiler makes the same ruleset of the same cluster.
"""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from weave.addresses import IPAddress
from weave.npc.blocks import text_of
from weave.npc.membership import NO_LABELS, Membership, Wanted
from weave.npc.model import Cluster, ClusterPolicy, Direction, Key, NetworkPolicy, Pod, Tier
from weave.npc.policy_chains import Compiled, compile_policy, compile_tier, refuse, refusing_name
from weave.npc.ruleset import (
    FAMILIES,
    Chain,
    Jump,
    Kind,
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


_Likeness = tuple[str, frozenset[tuple[str, str]]]
"""Namespace and labels of a pod: what is governed follows from them."""
_Identity = tuple[Direction, int, tuple[tuple[int, ...], ...]]
"""Of a profile in a direction and a family: equal as long as the same policies, as objects, are in it."""


@dataclass(eq=False, slots=True)
class _Structure:
    """All of a ruleset that does not follow from who is where."""

    profiles: Mapping[_Identity, _Profile] = field(default_factory=dict)
    """What it was made for; they live as long as their identities count."""
    names: dict[_Identity, str] = field(default_factory=dict)
    chains: dict[str, Chain] = field(default_factory=dict)
    refusals: dict[str, Refusal] = field(default_factory=dict)
    constant: dict[str, NftSet] = field(default_factory=dict)
    wanted: dict[str, tuple[Kind, int, Wanted]] = field(default_factory=dict)
    compiled: dict[object, tuple[object, Compiled]] = field(default_factory=dict)
    """Chains of policies and tiers, with what they were made of."""


class Compiler:
    """Make rulesets of clusters, one after the other."""

    def __init__(self) -> None:
        self._membership = Membership()
        self._structure = _Structure()
        self._sets: Mapping[str, NftSet] = {}
        self._indexed: tuple[object, ...] = ()
        self._by_namespace: dict[str, list[NetworkPolicy]] = {}
        self._tiers: dict[Tier, list[ClusterPolicy]] = {}
        self._profiles: dict[_Likeness, dict[Direction, _Profile]] = {}
        """Of the pods of the last compilation."""

    def compile(self, cluster: Cluster, local: Local) -> Ruleset:
        """Return what the kernel of this host shall hold."""
        self._membership.update(cluster)
        self._index(cluster)
        governed = list(self._governed(cluster, local))
        profiles = {identity: profile for _, identity, profile in governed}
        if profiles.keys() != self._structure.profiles.keys():
            self._structure = self._build(profiles)
            self._membership.forget(wanted for _, _, wanted in self._structure.wanted.values())
        dispatch: dict[str, dict[str, str]] = {map_name(way, family): {} for way in Direction for family in FAMILIES}
        policed: dict[int, set[str]] = {family: set() for family in FAMILIES}
        for address, identity, _ in governed:
            direction, family, _ = identity
            dispatch[map_name(direction, family)][address] = self._structure.names[identity]
            policed[family].add(address)
        self._sets = self._fill()
        return Ruleset(
            self._sets, self._structure.chains, dispatch,
            {family: frozenset(found) for family, found in policed.items()},
            _admitted(local), self._structure.refusals,
        )

    def _governed(self, cluster: Cluster, local: Local) -> Iterator[tuple[str, _Identity, _Profile]]:
        """Yield each address of a pod of this host in each direction in which something governs it."""
        known, self._profiles = self._profiles, {}
        for key in sorted(local.pods, key=lambda key: (key.namespace, key.name)):
            pod = cluster.pods.get(key)
            if pod is None or pod.host_network:
                continue
            likeness = (pod.namespace, frozenset(pod.labels.items()))
            if likeness not in known:
                known[likeness] = self._look_up(pod, cluster)
            self._profiles[likeness] = known[likeness]
            for direction, profile in known[likeness].items():
                for address in local.pods[key]:
                    yield text_of(address), (direction, address.version, profile.identity), profile

    def _fill(self) -> dict[str, NftSet]:
        """Return the sets with their elements; the same objects where nothing changed."""
        filled = dict(self._structure.constant)
        for name, (kind, family, wanted) in self._structure.wanted.items():
            elements = self._membership.elements(wanted, family)
            known = self._sets.get(name)
            filled[name] = known if known is not None and known.elements is elements else NftSet(kind, elements)
        return filled

    def _index(self, cluster: Cluster) -> None:
        """Forget who is governed by what when policies or the labels of namespaces changed."""
        state = (cluster.policies, cluster.cluster_policies, cluster.namespaces)
        if self._indexed and all(old is new for old, new in zip(self._indexed, state, strict=True)):
            return
        self._indexed = state
        self._profiles = {}
        self._by_namespace = {}
        for key in sorted(cluster.policies, key=lambda key: (key.namespace, key.name)):
            self._by_namespace.setdefault(key.namespace, []).append(cluster.policies[key])
        ordered = sorted(cluster.cluster_policies.values(), key=lambda policy: (policy.priority, policy.name))
        self._tiers = {tier: [policy for policy in ordered if policy.tier is tier] for tier in Tier}

    def _look_up(self, pod: Pod, cluster: Cluster) -> dict[Direction, _Profile]:
        """Return the profile of a pod in each direction in which something governs it."""
        home = cluster.namespaces.get(pod.namespace)
        labels = NO_LABELS if home is None else home.labels
        policies = [policy for policy in self._by_namespace.get(pod.namespace, ()) if selects(policy.pods, pod.labels)]
        tiers = {tier: [policy for policy in found
                        if selects(policy.namespaces, labels) and selects(policy.pods, pod.labels)]
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

    def _build(self, profiles: Mapping[_Identity, _Profile]) -> _Structure:
        made = _Structure(profiles)
        users = Counter((direction, family, id(policy)) for (direction, family, _), profile in profiles.items()
                        for policy in profile.policies)
        for identity, profile in profiles.items():
            direction, family, _ = identity
            shared = {policy for policy in map(id, profile.policies) if users[direction, family, policy] > 1}
            made.names[identity] = self._profile(made, profile, direction, family, shared)
        return made

    def _profile(self, made: _Structure, profile: _Profile, direction: Direction, family: int,
                 shared: Container[int]) -> str:
        """Have the chain of a profile made, and return its name.

        Only a policy that other profiles share, as its identity says, has a chain of its own: for every element that
        leads to a chain, the kernel goes through all chains of the table to see that none leads back to itself.
        """
        rules = [Rule((), Jump(self._tier(made, profile.admin, direction, family)))] if profile.admin else []
        for policy in profile.policies:
            compiled = self._policy(made, policy, direction, family)
            if id(policy) in shared:
                made.chains[compiled.name] = compiled.chain
                rules.append(Rule((), Jump(compiled.name), f"{policy.namespace}/{policy.name}"))
            else:
                rules += compiled.chain.rules
        if profile.policies:
            rules += _refuse(made, profile.policies, direction, family)
        elif profile.baseline:
            rules.append(Rule((), Jump(self._tier(made, profile.baseline, direction, family))))
        chain = Chain(family, tuple(rules))
        name = f"{direction.value}-{digest(chain)}"
        made.chains[name] = chain
        return name

    def _policy(self, made: _Structure, policy: NetworkPolicy, direction: Direction, family: int) -> Compiled:
        at = (direction, family, id(policy))
        known = made.compiled.get(at) or self._structure.compiled.get(at)
        return _enter(made, at, policy, known[1] if known else compile_policy(policy, direction, family))

    def _tier(self, made: _Structure, policies: Sequence[ClusterPolicy], direction: Direction, family: int) -> str:
        at = (direction, family, *map(id, policies))
        known = made.compiled.get(at) or self._structure.compiled.get(at)
        tier = _enter(made, at, policies, known[1] if known else compile_tier(policies, direction, family))
        made.chains[tier.name] = tier.chain
        return tier.name


def _enter(made: _Structure, at: object, origin: object, compiled: Compiled) -> Compiled:
    """Take over what a chain needs; `origin` stays alive as long as its identity counts."""
    if at not in made.compiled:
        made.compiled[at] = (origin, compiled)
        made.wanted |= compiled.wanted
        made.constant |= compiled.constant
        for tag, (chain, refusal) in compiled.refusing.items():
            made.chains[refusing_name(tag)] = chain
            made.refusals[tag] = refusal
    return compiled


def _refuse(made: _Structure, policies: Iterable[NetworkPolicy], direction: Direction, family: int) -> tuple[Rule, ...]:
    """Return the end of a profile.

    It is no chain to go to, which profiles could share, for the same reason as policies of one profile are none.
    """
    words = ", ".join(f"{policy.namespace}/{policy.name}" for policy in policies)
    tag, rules, refusal = refuse(direction, family, words)
    made.refusals[tag] = refusal
    return rules


def _admitted(local: Local) -> dict[int, frozenset[str]]:
    addresses = {*local.others, *(address for found in local.pods.values() for address in found)}
    return {family: frozenset(text_of(address) for address in addresses if address.version == family)
            for family in FAMILIES}
