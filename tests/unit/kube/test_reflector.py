"""The list/watch machine: single steps, then a server that misbehaves at random and a follower that must not notice."""

import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weave.kube import limits
from weave.kube.failure import ApiFailure
from weave.kube.reflector import List, Reflector, Remove, State, Synced, Upsert, Wait, Watch


def thing(name, version, namespace="x"):
    return {"metadata": {"name": name, "namespace": namespace, "resourceVersion": str(version)}}


def page(*items, version="9", more=""):
    return {"metadata": {"resourceVersion": version, **({"continue": more} if more else {})}, "items": list(items)}


def event(kind, value):
    return json.dumps({"type": kind, "object": value}).encode()


def told(changes):
    return [each for each in changes if not isinstance(each, State)]


def states(changes):
    return [each.is_well for each in changes if isinstance(each, State)]


def failure(status, retry_after=0.0):
    return ApiFailure("asking", status, "no", retry_after)


def machine(**options):
    return Reflector("things", Random(1), **options)


def following(*items, **options):
    made = machine(**options)
    made.listed(page(*items), 0.0)
    made.opened(0.0)
    return made


def test_list_is_asked_for_in_pages_and_then_watched_from_its_version():
    made = machine()
    assert made.action == List(limits.PAGE_OBJECTS, "")
    assert told(made.listed(page(thing("a", 1), more="next"), 0.0)) == [Upsert("x/a", thing("a", 1))]
    assert made.action == List(limits.PAGE_OBJECTS, "next")
    assert told(made.listed(page(thing("b", 2), version="7"), 0.0)) == [Upsert("x/b", thing("b", 2)), Synced()]
    assert isinstance(made.action, Watch)
    assert made.action.version == "7"


def test_watch_outlives_what_it_asked_for_by_a_grace():
    action = following().action
    low, high = limits.WATCH_S
    assert low <= action.timeout_s <= high
    assert action.deadline_s > action.timeout_s


def test_events_change_what_is_there_and_move_the_version():
    made = following(thing("a", 1))
    assert made.line(event("ADDED", thing("b", 10)), 1.0) == [Upsert("x/b", thing("b", 10))]
    assert made.line(event("MODIFIED", thing("a", 11)), 1.0) == [Upsert("x/a", thing("a", 11))]
    assert made.line(event("DELETED", thing("a", 12)), 1.0) == [Remove("x/a")]
    assert made.line(event("BOOKMARK", {"metadata": {"resourceVersion": "20"}}), 1.0) == []
    made.closed(2.0)
    assert made.action.version == "20"


def test_duplicates_are_told_once():
    made = following(thing("a", 1))
    assert made.line(event("ADDED", thing("a", 1)), 1.0) == []
    made.line(event("DELETED", thing("a", 2)), 1.0)
    assert made.line(event("DELETED", thing("a", 2)), 1.0) == []


@pytest.mark.parametrize("line", [b"{", b"[" * 5000, b"\xff\xfe", b'{"type":"ADDED","object":{"metadata":{"na'])
def test_line_that_cannot_be_read_may_have_been_a_change_so_all_is_listed_again(line):
    made = following(thing("a", 1))
    assert made.line(line, 1.0) == []
    assert made.garbage == 1
    made.waited()
    assert isinstance(made.action, List)


@pytest.mark.parametrize("line", [b"[]", b"7", b'"x"', b'{"type":"ADDED"}', b'{"type":"ADDED","object":{}}',
                                  b'{"type":"NEW","object":{}}', b'{"type":7}',
                                  b'{"type":"ADDED","object":{"metadata":{"name":"a"}}}'])
def test_garbage_is_skipped_and_counted(line):
    made = following(thing("a", 1))
    assert made.line(line, 1.0) == []
    assert made.garbage == 1
    assert isinstance(made.action, Watch)


def test_silent_close_is_followed_by_the_next_watch_at_once():
    made = following()
    made.closed(limits.CALM_WATCH_S + 1)
    assert isinstance(made.action, Watch)


def test_watches_that_end_at_once_are_paused_longer_each_time():
    made, now, pauses = following(), 0.0, []
    for _ in range(12):
        made.opened(now)
        made.closed(now)
        pauses.append(made.action.until - now)
        now = made.action.until
        made.waited()
    assert pauses[-1] > 10 * pauses[0]
    assert max(pauses) <= limits.LONGEST_RETRY_S


def test_what_was_deleted_while_away_is_found_by_the_next_list():
    made = following(thing("a", 1), thing("b", 2))
    made.line(event("BOOKMARK", {"metadata": {"resourceVersion": "20"}}), 1.0)
    made.failed(failure(410), 1.0)
    assert made.action == List(limits.PAGE_OBJECTS, "")
    assert told(made.listed(page(thing("b", 2), thing("c", 3)), 2.0)) == [
        Upsert("x/c", thing("c", 3)), Remove("x/a"), Synced()]


def test_outdated_as_an_event_lists_again():
    made = following(thing("a", 1))
    made.line(event("MODIFIED", thing("a", 3)), 1.0)
    made.line(event("ERROR", {"kind": "Status", "code": 410, "message": "too old"}), 1.0)
    assert isinstance(made.action, List)


def test_server_that_calls_everything_outdated_is_not_hammered():
    made, now, asked = machine(), 0.0, 0
    while now < 60.0:
        match made.action:
            case List():
                asked += 1
                made.listed(page(), now)
            case Watch():
                made.failed(failure(410), now)
            case Wait(until):
                now = until
                made.waited()
    assert asked < 15


def test_outdated_continuation_begins_the_list_anew_and_then_in_one_piece():
    made, now = machine(), 0.0
    for _ in range(limits.MAX_STALE_PAGES):
        assert made.action.limit == limits.PAGE_OBJECTS
        made.listed(page(thing("a", 1), more="next"), now)
        made.failed(failure(410), now)
        now = made.action.until
        made.waited()
    assert made.action == List(0, "")
    assert told(made.listed(page(thing("b", 2)), now)) == [Upsert("x/b", thing("b", 2)), Remove("x/a"), Synced()]


def test_page_that_failed_is_asked_for_again_where_we_were():
    made = machine()
    made.listed(page(thing("a", 1), more="next"), 0.0)
    made.failed(failure(None), 0.0)
    made.waited()
    assert made.action == List(limits.PAGE_OBJECTS, "next")
    assert Remove("x/a") not in made.listed(page(thing("b", 2)), 1.0)


@pytest.mark.parametrize(("status", "times"), [
    (400, 1), (500, limits.MAX_PAGE_FAILURES), (403, limits.MAX_PAGE_FAILURES), (None, limits.MAX_PAGE_FAILURES)])
def test_page_that_is_refused_or_keeps_failing_begins_the_list_anew(status, times):
    made = machine()
    made.listed(page(thing("a", 1), more="next"), 0.0)
    for _ in range(times):
        assert made.action == List(limits.PAGE_OBJECTS, "next")
        assert True not in states(made.failed(failure(status), 0.0))
        made.waited()
    assert made.action == List(limits.PAGE_OBJECTS, "")
    assert told(made.listed(page(thing("b", 2)), 1.0)) == [Upsert("x/b", thing("b", 2)), Remove("x/a"), Synced()]


@pytest.mark.parametrize(("status", "size"), [
    (400, 0), (500, 0), (503, limits.PAGE_OBJECTS), (None, limits.PAGE_OBJECTS)])
def test_server_that_fails_every_continuation_is_asked_for_all_in_one_piece_unless_it_is_overloaded(status, size):
    made = machine()
    for _ in range(limits.MAX_STALE_PAGES):
        made.listed(page(thing("a", 1), more="next"), 0.0)
        while made.action != List(made.action.limit, ""):
            made.failed(failure(status), 0.0)
            made.waited()
    assert made.action == List(size, "")


def test_failures_of_pages_that_come_in_the_end_do_not_add_up():
    made = machine()
    for number in range(2 * limits.MAX_PAGE_FAILURES):
        made.listed(page(more=f"{number}"), 0.0)
        made.failed(failure(500), 0.0)
        made.waited()
        assert made.action == List(limits.PAGE_OBJECTS, f"{number}")


def test_first_page_that_is_refused_is_asked_for_again():
    made = machine()
    made.failed(failure(400), 0.0)
    made.waited()
    assert made.action == List(limits.PAGE_OBJECTS, "")


@pytest.mark.parametrize("status", [429, 503, 500, 504, None])
def test_retry_after_is_obeyed_within_bounds(status):
    made = following()
    made.failed(failure(status, 17.0), 100.0)
    assert 117.0 <= made.action.until <= 130.0
    made.failed(failure(status, 1e9), 100.0)
    assert made.action.until <= 100.0 + 2 * limits.MAX_RETRY_AFTER_S


@pytest.mark.parametrize("status", [401, 403])
def test_denial_is_told_once_and_asked_again_slowly(status):
    made = following()
    assert states(made.failed(failure(status), 0.0)) == [False]
    assert made.action.until >= limits.DENIED_RETRY_S
    made.waited()
    assert states(made.failed(failure(status), 60.0)) == []
    made.waited()
    assert states(made.opened(120.0)) == [True]


def test_kind_that_is_not_installed_counts_as_empty_and_is_looked_for_again():
    made = machine(may_be_absent=True)
    assert told(made.failed(failure(404), 0.0)) == [Synced()]
    assert isinstance(made.action, Wait)
    made.waited()
    assert told(made.failed(failure(404), 60.0)) == []
    made.waited()
    assert told(made.listed(page(thing("a", 1)), 120.0)) == [Upsert("x/a", thing("a", 1)), Synced()]
    assert told(made.failed(failure(404), 130.0)) == []
    made.waited()
    assert told(made.failed(failure(404), 190.0)) == [Remove("x/a"), Synced()]


def test_kind_that_is_removed_after_its_objects_is_missed_at_once():
    made = following(thing("a", 1), may_be_absent=True)
    made.opened(1.0)
    made.line(event("DELETED", thing("a", 2)), 2.0)
    assert [state.is_absent for state in made.failed(failure(404), 3.0) if isinstance(state, State)] == [True]


def test_kind_that_vanishes_with_its_objects_is_believed_when_asked_again():
    made = following(thing("a", 1), may_be_absent=True)
    assert states(made.failed(failure(404), 0.0)) == [False]
    made.waited()
    assert told(made.listed(page(thing("a", 1)), 60.0)) == [Synced()]
    assert told(made.failed(failure(404), 120.0)) == []


def test_kind_that_must_be_there_keeps_what_it_had_where_it_is_not_found():
    made = following(thing("a", 1))
    assert told(made.failed(failure(404), 0.0)) == []


def test_server_restored_from_a_backup_is_believed():
    made = following(thing("a", 900))
    made.failed(failure(504), 0.0)
    made.waited()
    made.failed(failure(410), 0.0)
    if isinstance(made.action, Wait):
        made.waited()
    assert told(made.listed(page(thing("a", 5), version="6"), 1.0)) == [Upsert("x/a", thing("a", 5)), Synced()]
    assert made.action.version == "6"


def test_pages_that_are_too_large_are_asked_for_in_smaller_ones():
    made, sizes = machine(), []
    for _ in range(8):
        made.failed(failure(413), 0.0)
        made.waited()
        sizes.append(made.action.limit)
    assert sizes[0] < limits.PAGE_OBJECTS
    assert sizes[-1] == 1


@pytest.mark.parametrize("answer", [None, [], "x", {"items": 7}, {"items": []}, {"metadata": 3, "items": [4]}])
def test_list_that_is_none_is_asked_for_again(answer):
    made = machine()
    assert Synced() not in made.listed(answer, 0.0)
    assert isinstance(made.action, Wait)


# --- a server that misbehaves -------------------------------------------------------------------------------------

class Server:
    """Objects with versions, a log of events that is cut now and then, and bad days."""

    def __init__(self, rng):
        self.rng, self.version, self.objects, self.log, self.oldest = rng, 1, {}, [], 0

    def change(self):
        name = self.rng.choice("abcdef")
        self.version += 1
        known = name in self.objects
        if known and self.rng.random() < 0.4:
            del self.objects[name]
            self.log.append((self.version, event("DELETED", thing(name, self.version))))
        else:
            self.objects[name] = thing(name, self.version)
            self.log.append((self.version, event("MODIFIED" if known else "ADDED", self.objects[name])))
        if self.rng.random() < 0.1:
            self.oldest, self.log = self.version, []

    def page(self, action):
        names = sorted(self.objects)
        start = int(action.continuation or 0)
        chosen = names[start : start + 2]
        more = str(start + 2) if start + 2 < len(names) else ""
        return page(*(self.objects[name] for name in chosen), version=str(self.version), more=more)


def play(server, made, follower, trouble, now):
    """Do what the machine asks, with trouble."""
    def take(changes):
        for change in changes:
            match change:
                case Upsert(key, value):
                    follower[key] = value
                case Remove(key):
                    del follower[key]

    action = made.action
    match action:
        case Wait(until):
            made.waited()
            return max(now, until)
        case List():
            pages_change = action.continuation and server.rng.random() < 0.2
            take(made.failed(failure(server.rng.choice([410, 500, None, 429, 403])), now) if trouble or pages_change
                 else made.listed(server.page(action), now))
        case Watch(version):
            if int(version) < server.oldest:
                take(made.failed(failure(410), now))
                return now
            take(made.opened(now))
            for at, line in server.log:
                if at > int(version) and made.action is action:
                    if trouble and server.rng.random() < 0.3:
                        take(made.line(server.rng.choice([b"garbage", event("ERROR", {"code": 410})]), now))
                        continue
                    take(made.line(line, now))
            if made.action is action:
                take(made.closed(now + server.rng.choice([0, 300])))
    return now


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32))
def test_follower_ends_with_what_the_server_has_whatever_happened(seed):
    rng = Random(seed)
    server, made, follower, now = Server(rng), Reflector("things", rng), {}, 0.0
    for _ in range(80):
        if not made.action or not getattr(made.action, "continuation", ""):
            server.change()  # the pages of one list are of one moment, as the API server's are
        now = play(server, made, follower, rng.random() < 0.3, now)
    made.failed(failure(410), now)
    while not isinstance(made.action, Watch):
        now = play(server, made, follower, False, now)
    assert {key: value["metadata"] for key, value in follower.items()} == {
        f"x/{name}": value["metadata"] for name, value in server.objects.items()}
