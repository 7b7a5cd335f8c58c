"""Say on an object what is wrong with it: Events of the API server, each once in the whole cluster.

All nodes see the same problem. The name of an event is made of what it says and of which generation of the object, so
that the API server keeps the first and refuses the others. What is too much is dropped: the log has it too.
"""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import trio

from weave.kube import limits
from weave.kube.client import Client
from weave.kube.failure import CONFLICT, ApiFailure
from weave.kube.resource import EVENTS, Object, metadata, text
from weave.logs import RateLimit, fields

log = logging.getLogger("weave.kube")

MAX_WAITING = 100
MAX_NAME_CHARS = 200
HASH_BYTES = 8
FALLBACK_NAMESPACE = "default"
"""Where events on objects without a namespace belong."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one generation of an object."""

    subject: Object
    reason: str
    sentence: str


def event_for(problem: Problem, component: str, host: str, now: str) -> Mapping[str, object]:
    """Return the event to post; `now` as RFC 3339."""
    subject, meta = problem.subject, metadata(problem.subject)
    name, namespace, uid = text(meta.get("name")), text(meta.get("namespace")), text(meta.get("uid"))
    said = f"{uid}\0{meta.get('generation')}\0{problem.sentence}".encode()
    home = namespace or FALLBACK_NAMESPACE
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{name[:MAX_NAME_CHARS]}.{hashlib.blake2b(said, digest_size=HASH_BYTES).hexdigest()}",
            "namespace": home,
        },
        "involvedObject": {
            "apiVersion": text(subject.get("apiVersion")), "kind": text(subject.get("kind")), "name": name,
            **({"namespace": namespace} if namespace else {}), "uid": uid,
            "resourceVersion": text(meta.get("resourceVersion")),
        },
        "type": "Warning",
        "reason": problem.reason,
        "message": problem.sentence[: limits.MAX_EVENT_MESSAGE],
        "source": {"component": component, "host": host},
        "reportingComponent": component,
        "reportingInstance": host,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


class EventPoster:
    """Post events one after the other, as many as the API server should be asked to keep."""

    def __init__(self, client: Client, component: str, host: str) -> None:
        """Post as this component on this node."""
        self.dropped = 0
        self._client = client
        self._component = component
        self._host = host
        self._limit = RateLimit(limits.EVENT_BURST, limits.EVENT_INTERVAL_S)
        self._send, self._receive = trio.open_memory_channel[Problem](MAX_WAITING)

    def report(self, problem: Problem) -> None:
        """Have a problem posted, if there is room for it; never waits."""
        if self._limit.admit("", trio.current_time()) is None:
            self.dropped += 1
            return
        try:
            self._send.send_nowait(problem)
        except trio.WouldBlock:
            self.dropped += 1

    async def run(self) -> None:
        """Post what is reported; never returns."""
        async for problem in self._receive:
            event = event_for(problem, self._component, self._host, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
            try:
                with trio.fail_after(limits.REQUEST_DEADLINE_S):
                    await self._client.create(EVENTS.path(text(metadata(event).get("namespace"))), event)
            except (ApiFailure, trio.TooSlowError) as failure:
                if not (isinstance(failure, ApiFailure) and failure.status == CONFLICT):
                    self.dropped += 1
                    log.debug("an event was not posted", extra=fields(reason=failure))
