"""What waits for a slow connection: the latest of each entry, in messages of bounded size."""

from tests.unit.mesh.fixtures import entry, name
from weave.mesh import limits
from weave.mesh.entries import FLOOR_KEY
from weave.mesh.messages import encode
from weave.mesh.outbox import Outbox
from weave.names import PeerName


def identity_of(owner: PeerName) -> bytes | None:
    return None if owner == name(9) else owner.encode()


def drain(outbox: Outbox, most: int = 100) -> list[tuple[bytes, int]]:
    deltas = outbox.drain(lambda _channel: 42, identity_of, most)
    return [(each.key, each.version) for delta in deltas for group in delta.groups for each in group.entries]


def test_a_newer_version_takes_the_place_of_an_older_one() -> None:
    outbox = Outbox()
    for version in range(1, 1000):
        outbox.add("dns", [entry(1, b"k", version, b"v")])
    assert len(outbox) == 1
    assert drain(outbox) == [(b"k", 999)]
    assert not outbox


def test_entries_leave_in_the_order_of_writing_but_the_floor_last() -> None:
    outbox = Outbox()
    outbox.add("dns", [entry(1, FLOOR_KEY, 5, b""), entry(1, b"b", 7, b"v"), entry(1, b"a", 6, b"v")])
    assert drain(outbox) == [(b"a", 6), (b"b", 7), (FLOOR_KEY, 5)]


def test_large_gossip_is_split_into_messages_of_bounded_size() -> None:
    outbox = Outbox()
    outbox.add("dns", [entry(owner, b"%d" % n, n + 1, b"v" * 3000) for owner in (1, 2) for n in range(50)])
    deltas = outbox.drain(lambda _channel: 42, identity_of, 100)
    assert len(deltas) == 5
    assert all(len(encode(delta)) < limits.MAX_DELTA_BYTES + 4096 for delta in deltas)


def test_what_does_not_fit_the_batch_waits() -> None:
    outbox = Outbox()
    entries = [entry(1, b"%04d" % n, n + 1, b"v" * 3000) for n in range(50)]
    outbox.add("dns", entries)
    first, then = drain(outbox, most=1), drain(outbox)
    assert [*first, *then] == [(each.key, each.version) for each in entries]


def test_an_answer_ends_with_the_root_once_all_has_left() -> None:
    outbox = Outbox()
    outbox.add("dns", [entry(1, b"%04d" % n, n + 1, b"v" * 3000) for n in range(50)])
    outbox.finish_answer("dns")
    assert [delta.root for delta in outbox.drain(lambda _channel: 42, identity_of, 1)] == [None]
    assert [delta.root for delta in outbox.drain(lambda _channel: 42, identity_of, 9)] == [None, None, 42]
    assert not outbox


def test_entries_whose_identity_was_forgotten_stay_out() -> None:
    outbox = Outbox()
    outbox.add("dns", [entry(9, b"k", 1, b"v"), entry(1, b"k", 1, b"v")])
    assert drain(outbox) == [(b"k", 1)]
