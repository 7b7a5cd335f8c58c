"""Two machines with one key are told of while that is news."""

from tests.unit.mesh.fixtures import name
from weave.mesh import limits
from weave.mesh.clones import SUSPECTED_AFTER, Clones


def test_a_clone_that_is_seen_no_more_is_forgotten() -> None:
    clones = Clones()
    clones.saw(name(2), "10.0.0.9:6783", 10.0)
    clones.saw_ours(20.0)
    clones.count(0, 60.0)
    assert list(clones.others()) == [(name(2), "10.0.0.9:6783")]
    assert clones.is_ours(0)
    clones.count(0, limits.CLONE_NEWS_S + 30.0)
    assert list(clones.others()) == []
    assert not clones.is_ours(0)


def test_strange_entries_are_counted_anew_when_there_were_none_for_long() -> None:
    clones = Clones()
    clones.count(SUSPECTED_AFTER, 60.0)
    assert clones.is_ours(SUSPECTED_AFTER)
    clones.count(SUSPECTED_AFTER, 60.0 + limits.CLONE_NEWS_S)
    assert not clones.is_ours(SUSPECTED_AFTER)
    assert clones.news(SUSPECTED_AFTER + 1) == 1
    assert clones.is_ours(2 * SUSPECTED_AFTER)
