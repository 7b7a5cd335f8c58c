"""The join laws of a channel, and its hashes."""

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.mesh.fixtures import entry, name
from weave.mesh import limits
from weave.mesh.channel import Channel
from weave.mesh.entries import FLOOR_KEY, Entry

EVERYBODY = frozenset(map(name, range(4)))


def entries() -> st.SearchStrategy[Entry]:
    plain = st.builds(
        entry,
        st.integers(0, 3),
        st.sampled_from([b"a", b"b", b"c"]),
        st.integers(1, 12),
        st.one_of(st.none(), st.sampled_from([b"x", b"y"])),
    )
    floors = st.builds(entry, st.integers(0, 3), st.just(FLOOR_KEY), st.integers(1, 12), st.just(b""))
    return st.one_of(plain, plain, floors)


def merged(*parts: list[Entry]) -> Channel:
    channel = Channel("dns")
    channel.cover(EVERYBODY)
    for part in parts:
        for each in part:
            channel.put(each)
    return channel


def state(channel: Channel) -> dict[object, object]:
    return {
        (owner, key): (held.version, held.value)
        for owner, owned in channel.owners.items()
        for key, held in owned.entries.items()
    }


@given(st.lists(entries(), max_size=20), st.lists(entries(), max_size=20))
def test_merge_is_commutative(left: list[Entry], right: list[Entry]) -> None:
    one, other = merged(left, right), merged(right, left)
    assert state(one) == state(other)
    assert one.root == other.root


@given(st.lists(entries(), max_size=20), st.randoms(use_true_random=False))
def test_merge_does_not_depend_on_order_or_grouping(parts: list[Entry], rng: object) -> None:
    shuffled = list(parts)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert state(merged(parts)) == state(merged(shuffled))


@given(st.lists(entries(), max_size=20))
def test_merge_is_idempotent_and_tells_nothing_twice(parts: list[Entry]) -> None:
    channel = merged(parts)
    root = channel.root
    for each in [held for owned in list(channel.owners.values()) for held in list(owned.entries.values())]:
        assert not channel.put(each).is_new
    assert channel.root == root


@given(st.lists(entries(), max_size=30))
def test_changes_told_add_up_to_the_state(parts: list[Entry]) -> None:
    channel = merged()
    believed: dict[object, bytes] = {}
    for each in parts:
        for change in channel.put(each).changes:
            if change.value is None:
                del believed[change.owner, change.key]
            else:
                believed[change.owner, change.key] = change.value
    assert believed == {(change.owner, change.key): change.value for change in channel.changes()}


@given(st.lists(entries(), max_size=30))
def test_hashes_equal_those_computed_from_scratch(parts: list[Entry]) -> None:
    channel = merged(parts)
    digest = 0
    for owned in channel.owners.values():
        assert owned.tombstones == sum(held.value is None for held in owned.entries.values())
        for held in owned.entries.values():
            digest ^= held.digest
    assert channel.root == digest
    xor = 0
    for bucket in channel.buckets:
        xor ^= bucket
    assert xor == digest
    assert channel.entry_count == sum(len(owned.entries) for owned in channel.owners.values())


@given(st.lists(entries(), max_size=30))
def test_news_is_what_put_finds_new(parts: list[Entry]) -> None:
    channel = merged()
    for each in parts:
        assert channel.is_news(each) == channel.put(each).is_new


def test_higher_version_wins() -> None:
    channel = merged([entry(1, b"a", 5, b"new"), entry(1, b"a", 4, b"old")])
    assert [change.value for change in channel.changes()] == [b"new"]


def test_two_contents_of_one_version_are_reported_and_the_larger_wins() -> None:
    channel = merged([entry(1, b"a", 5, b"x")])
    assert channel.put(entry(1, b"a", 5, b"y")).refused == "two contents of one version"
    assert not channel.put(entry(1, b"a", 5, b"x")).is_new


def test_tombstone_withdraws() -> None:
    channel = merged([entry(1, b"a", 5, b"x")])
    (change,) = channel.put(entry(1, b"a", 6, None)).changes
    assert change.value is None


def test_tombstone_of_what_was_never_there_is_kept_but_not_told() -> None:
    told = merged().put(entry(1, b"a", 6, None))
    assert told.is_new
    assert told.changes == ()


def test_floor_kills_what_is_not_above_it() -> None:
    channel = merged([entry(1, b"a", 3, b"x"), entry(1, b"b", 5, b"y"), entry(2, b"a", 1, b"z")])
    told = channel.put(entry(1, FLOOR_KEY, 4, b""))
    assert [(change.key, change.value) for change in told.changes] == [(b"a", None)]
    assert not channel.put(entry(1, b"c", 4, b"late")).is_new


def test_written_again_above_the_floor_is_told_as_no_change() -> None:
    channel = merged([entry(1, b"a", 3, b"x")])
    assert channel.put(entry(1, b"a", 9, b"x")).changes == ()
    assert channel.put(entry(1, FLOOR_KEY, 8, b"")).changes == ()


def test_floor_with_a_value_is_refused() -> None:
    assert merged().put(entry(1, FLOOR_KEY, 4, b"what")).refused == "malformed floor"


def test_floor_comes_last_of_what_is_sent() -> None:
    channel = merged([entry(1, FLOOR_KEY, 4, b""), entry(1, b"a", 5, b"x"), entry(1, b"b", 6, b"x")])
    assert [each.key for each in channel.after(name(1), 0)] == [b"a", b"b", FLOOR_KEY]


def test_unreachable_owners_are_not_hashed_but_kept() -> None:
    channel = merged([entry(1, b"a", 3, b"x"), entry(2, b"a", 3, b"x")])
    both = channel.root
    channel.cover(frozenset({name(1)}))
    assert channel.root != both
    assert [row.owner for row in channel.summaries((1 << 64) - 1)] == [name(1)]
    channel.cover(EVERYBODY)
    assert channel.root == both


def test_durable_channel_covers_everybody() -> None:
    channel = Channel("ipam", durable=True)
    channel.put(entry(1, b"a", 3, b"x"))
    channel.cover(frozenset())
    assert [row.owner for row in channel.summaries((1 << 64) - 1)] == [name(1)]


def test_forgetting_an_owner_withdraws_what_it_had() -> None:
    channel = merged([entry(1, b"a", 3, b"x"), entry(1, b"b", 4, None), entry(2, b"a", 3, b"x")])
    assert [change.key for change in channel.forget(name(1))] == [b"a"]
    assert channel.root == merged([entry(2, b"a", 3, b"x")]).root


def test_owner_with_too_many_entries_is_refused_the_next(monkeypatch: object) -> None:
    monkeypatch.setattr(limits, "MAX_ENTRIES_PER_OWNER", 2)  # type: ignore[attr-defined]
    channel = merged([entry(1, b"a", 1, b"x"), entry(1, b"b", 2, b"x")])
    assert channel.put(entry(1, b"c", 3, b"x")).refused == "too many entries"
    assert channel.put(entry(1, b"a", 4, b"y")).is_new
