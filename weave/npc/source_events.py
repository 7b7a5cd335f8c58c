"""What is not understood of a policy, as an event on it: where its author looks. Pure.

Every node sees every policy; the name of an event follows from what it says, so that only the first to tell is heard.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from weave.kube.limits import MAX_EVENT_MESSAGE
from weave.kube.resource import EVENTS, mapping, metadata, text
from weave.npc.manifest import parse
from weave.npc.manifest_fields import ManifestError
from weave.npc.model import ClusterPolicy, NetworkPolicy
from weave.npc.ruleset import digest
from weave.npc.source import Change, Upsert

REASON = "NotUnderstood"
COMPONENT = "weave-npc"
DEFAULT_NAMESPACE = "default"
"""Where events about objects of no namespace belong."""
MAX_NAME = 253
POLICY_KINDS = frozenset({"NetworkPolicy", "ClusterNetworkPolicy"})


def events_about(changes: Sequence[Change], now: datetime) -> Iterator[Mapping[str, object]]:
    """Yield an event for each policy among the changes of which something is not understood."""
    for change in changes:
        if isinstance(change, Upsert) and change.identity.kind in POLICY_KINDS:
            problems = _problems(change.manifest)
            if problems:
                yield _event(change, " ".join(problems), now)


def event_path(event: Mapping[str, object]) -> str:
    """Return where an event is posted."""
    return EVENTS.path(text(metadata(event).get("namespace")))


def _problems(manifest: Mapping[str, object]) -> Sequence[str]:
    try:
        value = parse(manifest)
    except ManifestError as exc:
        return [str(exc)]
    return value.problems if isinstance(value, NetworkPolicy | ClusterPolicy) else ()


def _event(change: Upsert, message: str, now: datetime) -> Mapping[str, object]:
    identity, manifest = change.identity, mapping(change.manifest)
    uid = text(metadata(manifest).get("uid"))
    mark = digest((uid, message))
    time = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"namespace": identity.namespace or DEFAULT_NAMESPACE,
                     "name": f"{identity.name[:MAX_NAME - len(mark) - 1]}.{mark}"},
        "involvedObject": {"apiVersion": text(manifest.get("apiVersion")), "kind": identity.kind,
                           "namespace": identity.namespace, "name": identity.name, "uid": uid},
        "type": "Warning", "reason": REASON, "message": message[:MAX_EVENT_MESSAGE],
        "source": {"component": COMPONENT}, "firstTimestamp": time, "lastTimestamp": time, "count": 1,
    }
