"""Follow all objects of one kind, whatever the API server does: a list, then a watch, again and again. No I/O.

    LIST page by page ──complete──> WATCH from the list's version ──ended──> WATCH from the last version seen
      ^                               │
      └── outdated (410), oversize ───┘          anything else that fails: WAIT, longer each time, then the same again

A page of a list that is refused, or fails again and again, is not asked for for ever: the list begins anew.
`action` says what to do next; its outcome is fed back by one of the other methods, which return what that changed.
Invariant: after `Synced`, the upserts and removals returned so far add up to the objects of the last list and the
events since. What was deleted while nobody watched is found by the next list. Versions are compared for equality
alone: a server that was restored from a backup counts from an earlier one.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from weave.kube import limits
from weave.kube.failure import BAD_REQUEST, GONE, NOT_FOUND, TOO_LARGE, ApiFailure
from weave.kube.resource import Object, key_of, mapping, metadata, sequence, text, version_of

if TYPE_CHECKING:
    from random import Random

DENIED = (401, 403)
OVERLOADED = (429, 503)


@dataclass(frozen=True, slots=True)
class List:
    """Ask for a page."""

    limit: int
    """0 for all in one piece."""
    continuation: str


@dataclass(frozen=True, slots=True)
class Watch:
    """Ask for what happens from this version on; give up at the deadline."""

    version: str
    timeout_s: int
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing until this time."""

    until: float


Action: TypeAlias = List | Watch | Wait


@dataclass(frozen=True, slots=True)
class Upsert:
    """An object is there, new or changed."""

    key: str
    value: Object


@dataclass(frozen=True, slots=True)
class Remove:
    """An object is gone."""

    key: str


@dataclass(frozen=True, slots=True)
class Synced:
    """Everything that was there has been told."""


@dataclass(frozen=True, slots=True)
class State:
    """How it goes, told when it changes."""

    is_well: bool
    sentence: str
    is_absent: bool = False
    """The kind is not installed, which is well: there are no objects of it."""


Change: TypeAlias = Upsert | Remove | Synced | State


class Reflector:
    """The machine of one kind of objects."""

    def __init__(self, kind: str, rng: "Random", *, may_be_absent: bool = False) -> None:
        """`may_be_absent`: a kind that is not installed counts as one without objects."""
        self.is_synced = False
        self.relists = 0
        self.garbage = 0
        """Lines and objects that made no sense; they are skipped."""
        self._kind = kind
        self._rng = rng
        self._may_be_absent = may_be_absent
        self._held: dict[str, str] = {}
        self._seen: set[str] = set()
        self._continuation = ""
        self._missed = False
        """The kind was not there when we last asked."""
        self._page = limits.PAGE_OBJECTS
        self._stale_lists = 0
        self._page_failures = 0
        """Of the page at hand."""
        self._version = ""
        """Empty: a list is needed."""
        self._opened_at: float | None = None
        self._had_event = False
        self._pause = limits.FIRST_RETRY_S
        self._next: Action = List(self._page, "")
        self._state: State | None = None

    @property
    def action(self) -> Action:
        """Return what to do next."""
        return self._next

    @property
    def is_open(self) -> bool:
        """Say whether the server accepted a watch that has not ended."""
        return self._opened_at is not None

    # --- outcomes of a list --------------------------------------------------------------------------------------

    def listed(self, page: object, now: float) -> list[Change]:
        """Take in a page."""
        items = mapping(page).get("items")
        if not isinstance(items, list) and items is not None:
            return self.failed(ApiFailure(f"listing {self._kind}", None, "the answer is no list"), now)
        if len(self._seen) + len(sequence(items)) > limits.MAX_OBJECTS:
            return self.failed(ApiFailure(f"listing {self._kind}", TOO_LARGE, "there are too many objects"), now)
        changes: list[Change] = []
        for item in sequence(items):
            key = self._object(item, changes)
            if key is not None:
                self._seen.add(key)
        self._page_failures = 0
        self._continuation = text(metadata(page).get("continue"))
        if self._continuation:
            self._next = List(self._page, self._continuation)
            return changes
        return [*changes, *self._complete(version_of(page), now)]

    def _complete(self, version: str, now: float) -> list[Change]:
        if not version:
            return self.failed(ApiFailure(f"listing {self._kind}", None, "the list has no version"), now)
        gone = self._forget_unseen()
        self._version = version
        self._missed = False
        self._stale_lists = 0
        self._page = self._page or limits.PAGE_OBJECTS
        self._watch()
        self.is_synced = True
        return [*gone, Synced(), *self._tell(self._well())]

    def _forget_unseen(self) -> list[Change]:
        gone = sorted(self._held.keys() - self._seen)
        for key in gone:
            del self._held[key]
        self._seen.clear()
        return [Remove(key) for key in gone]

    # --- outcomes of a watch -------------------------------------------------------------------------------------

    def opened(self, now: float) -> list[Change]:
        """Note that the server accepted the watch."""
        self._opened_at = now
        self._had_event = False
        return self._tell(self._well())

    def line(self, line: bytes, now: float) -> list[Change]:
        """Take in one line of the watch."""
        try:
            event = mapping(json.loads(line))
        except (ValueError, RecursionError):
            self.garbage += 1  # it may have been a change: list again rather than miss one
            return self._begin_anew(now)
        value = event.get("object")
        match event.get("type"):
            case "ADDED" | "MODIFIED":
                return self._moved(value, self._object)
            case "DELETED":
                return self._moved(value, self._deleted)
            case "BOOKMARK":
                self._advance(value)
                return []
            case "ERROR":
                return self.failed(_failure_in(value, f"watching {self._kind}"), now)
            case _:
                self.garbage += 1
                return []

    def _moved(self, value: object, take: Callable[[object, list[Change]], object]) -> list[Change]:
        changes: list[Change] = []
        take(value, changes)
        self._advance(value)
        return changes

    def _advance(self, value: object) -> None:
        version = version_of(value)
        if version:
            self._version = version
            self._had_event = True
            self._pause = limits.FIRST_RETRY_S

    def _object(self, value: object, changes: list[Change]) -> str | None:
        key, version = key_of(value), version_of(value)
        if key is None or not version or not isinstance(value, dict):
            self.garbage += 1
            return None
        if key not in self._held and len(self._held) >= limits.MAX_OBJECTS:
            self.garbage += 1
            return None
        if self._held.get(key) != version:
            self._held[key] = version
            changes.append(Upsert(key, value))
        return key

    def _deleted(self, value: object, changes: list[Change]) -> None:
        key = key_of(value)
        if key is None:
            self.garbage += 1
        elif self._held.pop(key, None) is not None:
            changes.append(Remove(key))

    def closed(self, now: float) -> list[Change]:
        """Note that the watch ended without a word, by the server, the network or our deadline."""
        opened, self._opened_at = self._opened_at, None
        if opened is not None and (self._had_event or now - opened >= limits.CALM_WATCH_S):
            self._pause = limits.FIRST_RETRY_S
            self._watch()
            return []
        self._rest(now)
        return []

    # --- failures ------------------------------------------------------------------------------------------------

    def failed(self, failure: ApiFailure, now: float) -> list[Change]:
        """Take note of a request that failed, or of the failure that a watch brought."""
        self._opened_at = None
        status = failure.status
        if status == GONE:
            return self._outdated(now)
        if status == TOO_LARGE:
            self._too_large()
        if status == NOT_FOUND:
            self._relist()
            if self._may_be_absent and self._is_gone():
                return self._absent(now)
        if self._continuation:
            self._page_failed(status)
        state = State(is_well=False, sentence=str(failure))
        if status in DENIED or status == NOT_FOUND:
            self._wait(now + limits.DENIED_RETRY_S * (1 + self._rng.random()))
        else:
            floor = min(failure.retry_after_s, limits.MAX_RETRY_AFTER_S)
            self._rest(now, floor * self._rng.uniform(1.0, 1.25))
        return self._tell(state)

    def _outdated(self, now: float) -> list[Change]:
        """List again: at once the first time, then with pauses, for some servers call everything outdated."""
        if self._continuation:
            self._note_stale_list()
        is_first = bool(self._version) and self._had_event
        self._relist()
        self._had_event = False
        if is_first:
            self._next = List(self._page, "")
        else:
            self._rest(now)
        return []

    def _page_failed(self, status: int | None) -> None:
        """Begin the list anew where it is the continuation that the server cannot read, or may be."""
        self._page_failures += 1
        if status != BAD_REQUEST and self._page_failures < limits.MAX_PAGE_FAILURES:
            return
        if status is not None and status not in OVERLOADED:  # one piece would be too much for such a server
            self._note_stale_list()
        self._relist()

    def _note_stale_list(self) -> None:
        self._stale_lists += 1
        if self._stale_lists >= limits.MAX_STALE_PAGES:
            self._page = 0

    def _too_large(self) -> None:
        """Ask for less at a time; what is still too large for us is refused for ever, and says so."""
        before = self._page or limits.PAGE_OBJECTS
        self._relist()
        self._page = max(1, before // 4)

    def _is_gone(self) -> bool:
        """Say whether to believe that the kind is not installed.

        Who removes a kind sees its objects deleted first. A kind that vanishes with objects, as from a server that is
        just starting, is believed when it is asked for once more: policies must not be forgotten by a slip.
        """
        was_missed, self._missed = self._missed, True
        return was_missed or not self._held

    def _absent(self, now: float) -> list[Change]:
        gone = self._forget_unseen()
        self._wait(now + limits.ABSENT_RETRY_S * self._rng.uniform(*limits.JITTER))
        news: list[Change] = [*gone, *([] if self.is_synced and not gone else [Synced()])]
        self.is_synced = True
        return [*news, *self._tell(State(
            is_well=True, sentence=f"{self._kind} are not installed in this cluster", is_absent=True))]

    def _begin_anew(self, now: float) -> list[Change]:
        self._opened_at = None
        self._relist()
        self._rest(now)
        return []

    def _relist(self) -> None:
        self.relists += 1
        self._version = ""
        self._continuation = ""
        self._page_failures = 0
        self._seen.clear()

    def _rest(self, now: float, at_least_s: float = 0.0) -> None:
        pause = self._pause * self._rng.uniform(*limits.JITTER)
        self._pause = min(self._pause * limits.GROWTH, limits.LONGEST_RETRY_S)
        self._wait(now + max(pause, at_least_s))

    def _wait(self, until: float) -> None:
        self._next = Wait(until)

    def _watch(self) -> None:
        timeout = int(self._rng.uniform(*limits.WATCH_S))
        self._next = Watch(self._version, timeout, timeout + limits.WATCH_GRACE_S)

    def waited(self) -> None:
        """Go on after a pause, where we were."""
        if self._version:
            self._watch()
        else:
            self._next = List(self._page, self._continuation)

    def _well(self) -> State:
        return State(is_well=True, sentence=f"following {self._kind}")

    def _tell(self, state: State) -> list[Change]:
        if state == self._state:
            return []
        self._state = state
        return [state]


def _failure_in(value: object, what: str) -> ApiFailure:
    """Return what a status object in a watch says."""
    status = mapping(value)
    code = status.get("code")
    seconds = mapping(status.get("details")).get("retryAfterSeconds")
    return ApiFailure(what, code if isinstance(code, int) and not isinstance(code, bool) else 500,
                      text(status.get("message"))[:200],
                      float(seconds) if isinstance(seconds, int) and 0 < seconds < 1 << 31 else 0.0)
