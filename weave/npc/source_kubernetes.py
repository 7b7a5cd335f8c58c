"""Policies and pods from the API server of Kubernetes.

Each kind is followed on its own (`weave.kube.following`); the source is synced once all of them are. Kinds that old API
servers do not have count as empty. An API server that is away changes nothing: what it last told stands.

What is not understood of a policy is told on it, as an event (`source_events`), at a bounded rate.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import trio

from weave.kube import reflector, resource
from weave.kube.client import Client, open_client
from weave.kube.config import ApiConfig
from weave.kube.failure import CONFLICT, ApiFailure
from weave.kube.following import follow
from weave.kube.limits import EVENT_BURST, EVENT_INTERVAL_S
from weave.kube.resource import Resource
from weave.logs import fields
from weave.npc.source import Change, Deliver, Identity, Remove, State, Synced, Upsert
from weave.npc.source_events import event_path, events_about

log = logging.getLogger("weave.npc")

USER_AGENT = "weave-npc"
MAX_WAITING_EVENTS = 100
Hear = Callable[[Sequence[reflector.Change]], Awaitable[None]]
KINDS = (resource.NAMESPACES, resource.NODES, resource.NETWORK_POLICIES, resource.CLUSTER_NETWORK_POLICIES,
         resource.PODS)
MAY_BE_ABSENT = frozenset({resource.CLUSTER_NETWORK_POLICIES})


@dataclass(slots=True)
class KindProgress:
    """Add up what is told of all kinds: synced once, and one state for all."""

    missing: set[str]
    """Kinds that are not synced yet."""
    troubles: dict[str, str] = field(default_factory=dict)

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
            case reflector.State(is_well, sentence):
                if is_well:
                    self.troubles.pop(kind.plural, None)
                else:
                    self.troubles[kind.plural] = f"{kind.plural}: {sentence}"
                return [self._state()]

    def _state(self) -> State:
        if self.troubles:
            return State(is_well=False, sentence="; ".join(self.troubles[kind] for kind in sorted(self.troubles)))
        return State(is_well=True, sentence="following the API server")


@dataclass(frozen=True, slots=True)
class KubernetesSource:
    """Tell what the API server says."""

    config: ApiConfig

    async def run(self, deliver: Deliver) -> None:
        """Follow all kinds; never returns."""
        progress = KindProgress({kind.plural for kind in KINDS})
        complaints, to_tell = trio.open_memory_channel[Mapping[str, object]](MAX_WAITING_EVENTS)
        async with open_client(self.config, USER_AGENT) as client, trio.open_nursery() as nursery:
            nursery.start_soon(_tell, client, to_tell)
            for kind in KINDS:
                nursery.start_soon(_follow, client, kind, _handing_on(kind, progress, deliver, complaints))


async def _follow(client: Client, kind: Resource, hand_on: Hear) -> None:
    await follow(client, kind, hand_on, may_be_absent=kind in MAY_BE_ABSENT)


async def _tell(client: Client, to_tell: trio.MemoryReceiveChannel[Mapping[str, object]]) -> None:
    """Post events, `EVENT_BURST` in `EVENT_INTERVAL_S`; never returns."""
    async for event in to_tell:
        try:
            await client.create(event_path(event), event)
        except ApiFailure as exc:
            if exc.status != CONFLICT:  # another node told it first
                log.warning("cannot tell on a policy what is wrong with it", extra=fields(reason=exc))
        await trio.sleep(EVENT_INTERVAL_S / EVENT_BURST)


def _handing_on(kind: Resource, progress: KindProgress, deliver: Deliver,
                complaints: trio.MemorySendChannel[Mapping[str, object]]) -> Hear:
    async def hand_on(changes: Sequence[reflector.Change]) -> None:
        told = progress.translate(kind, changes)
        if told:
            deliver(told)
        for event in events_about(told, datetime.now(UTC)):
            with suppress(trio.WouldBlock):  # a log has it, and the status
                complaints.send_nowait(event)
        await trio.lowlevel.checkpoint()  # a page of pods takes a while to read; others have their turn

    return hand_on


def _identity(kind: Resource, key: str) -> Identity:
    namespace, _, name = key.rpartition("/")
    return Identity(kind.kind, namespace, name)

