"""Policy, pods, namespaces and nodes from the Kubernetes API.

Each kind is followed by itself (`weave.kube.following`); the source is synced when all are. What is wrong with a policy
is said on the policy, as an event. Clusters without ClusterNetworkPolicy have none of them.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial

import trio

from weave.kube import reflector
from weave.kube.client import Client
from weave.kube.events import EventPoster, Problem
from weave.kube.following import follow
from weave.kube.resource import (
    CLUSTER_NETWORK_POLICIES,
    NAMESPACES,
    NETWORK_POLICIES,
    NODES,
    PODS,
    Resource,
)
from weave.npc.manifest import parse
from weave.npc.manifest_fields import ManifestError
from weave.npc.model import ClusterPolicy, NetworkPolicy
from weave.npc.source import Change, Deliver, Identity, Object, Remove, State, Synced, Upsert

KINDS = (NAMESPACES, PODS, NODES, NETWORK_POLICIES, CLUSTER_NETWORK_POLICIES)
POLICIES = (NETWORK_POLICIES, CLUSTER_NETWORK_POLICIES)
COMPONENT = "weave-npc"
REASON = "PolicyNotUnderstood"


@dataclass(slots=True)
class KubernetesSource:
    """Tell what the API server says; `connect` opens a client of it."""

    connect: Callable[[], AbstractAsyncContextManager[Client]]
    node: str
    _synced: set[Resource] = field(default_factory=set)
    _is_told: bool = False
    _states: dict[Resource, reflector.State] = field(default_factory=dict)
    _state: State | None = None

    async def run(self, deliver: Deliver) -> None:
        """Tell everything, then every change; never returns."""
        async with self.connect() as client, trio.open_nursery() as nursery:
            poster = EventPoster(client, COMPONENT, self.node)
            nursery.start_soon(poster.run)
            for resource in KINDS:
                take = partial(self._take, resource, poster, deliver)
                nursery.start_soon(partial(follow, client, resource, take,
                                           may_be_absent=resource == CLUSTER_NETWORK_POLICIES))

    async def _take(
        self, resource: Resource, poster: EventPoster, deliver: Deliver, changes: Sequence[reflector.Change]
    ) -> None:
        told: list[Change] = []
        for change in changes:
            match change:
                case reflector.Upsert(key, value):
                    manifest = complete(resource, value)
                    told.append(Upsert(_identity(resource, key), manifest))
                    if resource in POLICIES:
                        _report(poster, manifest)
                case reflector.Remove(key):
                    told.append(Remove(_identity(resource, key)))
                case reflector.Synced():
                    self._synced.add(resource)
                case reflector.State():
                    self._states[resource] = change
        if not self._is_told and len(self._synced) == len(KINDS):
            self._is_told = True
            told.append(Synced())
        told += self._news()
        if told:
            deliver(told)
        await trio.lowlevel.checkpoint()

    def _news(self) -> list[Change]:
        """Return the state of all kinds together where it changed."""
        bad = [state.sentence for state in self._states.values() if not state.is_well]
        missing = [resource.plural for resource in KINDS if resource not in self._synced]
        if bad:
            state = State(is_well=False, sentence="; ".join(bad))
        elif missing:
            state = State(is_well=True, sentence=f"reading {', '.join(missing)} from the API server")
        else:
            state = State(is_well=True, sentence="following the API server")
        if state == self._state:
            return []
        self._state = state
        return [state]


def complete(resource: Resource, value: Object) -> Object:
    """Return an object that says of what kind it is, as the items of a list do not."""
    version = f"{resource.group}/{resource.version}" if resource.group else resource.version
    return {**value, "apiVersion": version, "kind": resource.kind}


def _identity(resource: Resource, key: str) -> Identity:
    namespace, _, name = key.rpartition("/")
    return Identity(resource.kind, namespace, name)


def _report(poster: EventPoster, manifest: Mapping[str, object]) -> None:
    """Say on a policy what of it was not understood."""
    try:
        policy = parse(manifest)
    except ManifestError as exc:
        poster.report(Problem(manifest, REASON, str(exc)))
        return
    if isinstance(policy, NetworkPolicy | ClusterPolicy) and policy.problems:
        poster.report(Problem(manifest, REASON, " ".join(policy.problems)))
