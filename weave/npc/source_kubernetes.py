"""Policies and pods from the API server of Kubernetes.

Each kind is followed on its own (`weave.kube.following`); the source is synced once all of them are. Kinds that old API
servers do not have count as empty. An API server that is away changes nothing: what it last told stands. What is not
understood of a policy is said on the policy, as an event.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import trio

from weave.kube import reflector, resource
from weave.kube.client import Client, open_client
from weave.kube.config import ApiConfig
from weave.kube.events import EventPoster, Problem
from weave.kube.following import follow
from weave.kube.resource import Resource
from weave.npc.manifest import parse
from weave.npc.manifest_fields import ManifestError
from weave.npc.model import ClusterPolicy, NetworkPolicy
from weave.npc.source import Change, Deliver, Identity, Object, Remove, State, Synced, Upsert

USER_AGENT = "weave-npc"
KINDS = (resource.NAMESPACES, resource.NODES, resource.NETWORK_POLICIES, resource.CLUSTER_NETWORK_POLICIES,
         resource.PODS)
POLICIES = frozenset({resource.NETWORK_POLICIES.kind, resource.CLUSTER_NETWORK_POLICIES.kind})
REASON = "PolicyNotUnderstood"
MAY_BE_ABSENT = frozenset({resource.CLUSTER_NETWORK_POLICIES})


@dataclass(slots=True)
class KindProgress:
    """Add up what is told of all kinds: synced once, and one state for all."""

    missing: set[str]
    """Kinds that are not synced yet."""
    troubles: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    """What is said of kinds that are not installed."""

    def translate(self, kind: Resource, changes: Sequence[reflector.Change]) -> list[Change]:
        """Return what changes of one kind mean for the whole."""
        return [told for change in changes for told in self._translate(kind, change)]

    def _translate(self, kind: Resource, change: reflector.Change) -> list[Change]:
        match change:
            case reflector.Upsert(key, value):
                manifest = {"apiVersion": f"{kind.group}/{kind.version}".lstrip("/"), "kind": kind.kind, **value}
                return [Upsert(_identity(kind, key), manifest)]
            case reflector.Remove(key):
                return [Remove(_identity(kind, key))]
            case reflector.Synced():
                was_missing = kind.plural in self.missing
                self.missing.discard(kind.plural)
                return [Synced()] if was_missing and not self.missing else []
            case reflector.State():
                _note(self.troubles, kind, f"{kind.plural}: {change.sentence}", holds=not change.is_well)
                _note(self.absent, kind, change.sentence, holds=change.is_absent)
                return [self._state()]

    def _state(self) -> State:
        if self.troubles:
            return State(is_well=False, sentence="; ".join(self.troubles[kind] for kind in sorted(self.troubles)))
        return State(is_well=True, sentence="; ".join(["following the API server", *self.absent.values()]))


def _note(notes: dict[str, str], kind: Resource, sentence: str, *, holds: bool) -> None:
    notes.pop(kind.plural, None)
    if holds:
        notes[kind.plural] = sentence


@dataclass(frozen=True, slots=True)
class KubernetesSource:
    """Tell what the API server says."""

    config: ApiConfig
    node: str
    """Who says on a policy what is wrong with it."""

    async def run(self, deliver: Deliver) -> None:
        """Follow all kinds; never returns."""
        progress = KindProgress({kind.plural for kind in KINDS})
        async with open_client(self.config, USER_AGENT) as client, trio.open_nursery() as nursery:
            poster = EventPoster(client, USER_AGENT, self.node)
            nursery.start_soon(poster.run)

            def hand_on(changes: Sequence[Change]) -> None:
                deliver(changes)
                report_problems(changes, poster.report)

            for kind in KINDS:
                nursery.start_soon(_follow, client, kind, _handing_on(kind, progress, hand_on))


def report_problems(changes: Sequence[Change], report: Callable[[Problem], None]) -> None:
    """Report what is not understood of the policies that are new or changed."""
    for change in changes:
        if isinstance(change, Upsert) and change.identity.kind in POLICIES:
            sentence = _problems(change.manifest)
            if sentence:
                report(Problem(change.manifest, REASON, sentence))


def _problems(manifest: Object) -> str:
    try:
        policy = parse(manifest)
    except ManifestError as exc:
        return str(exc)
    return " ".join(policy.problems) if isinstance(policy, NetworkPolicy | ClusterPolicy) else ""


async def _follow(client: Client, kind: Resource,
                  hand_on: Callable[[Sequence[reflector.Change]], Awaitable[None]]) -> None:
    await follow(client, kind, hand_on, may_be_absent=kind in MAY_BE_ABSENT)


def _handing_on(kind: Resource, progress: KindProgress,
                deliver: Deliver) -> Callable[[Sequence[reflector.Change]], Awaitable[None]]:
    async def hand_on(changes: Sequence[reflector.Change]) -> None:
        told = progress.translate(kind, changes)
        if told:
            deliver(told)
        await trio.lowlevel.checkpoint()  # a page of pods takes a while to read; others have their turn

    return hand_on


def _identity(kind: Resource, key: str) -> Identity:
    namespace, _, name = key.rpartition("/")
    return Identity(kind.kind, namespace, name)

