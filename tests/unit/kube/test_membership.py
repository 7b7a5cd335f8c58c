import pytest

from weave.errors import RemoteError
from weave.kube import limits
from weave.kube.membership import Leaving, Member, admit, claim, decode, encode, finish, found, seal

ALL = {"n1", "n2", "n3"}


def three():
    record = found("b", "10.32.0.0/12")
    for number in (1, 2, 3):
        record = admit(record, f"p{number}", f"n{number}")
    return record


def test_record_survives_being_written():
    record = claim(seal(three(), ALL), "p3", "p1")
    assert decode(encode(record)) == record


def test_every_start_changes_the_record():
    record = three()
    assert admit(record, "p1", "n1").members["p1"] == Member("n1", 2)


def test_peer_that_ran_on_the_node_before_is_leaving():
    record = admit(three(), "new", "n2")
    assert "p2" not in record.members
    assert record.leaving == {"p2": Leaving("n2", "", 0)}
    assert record.members["new"] == Member("n2", 1)


def test_division_is_among_members_whose_nodes_are_there():
    assert seal(three(), {"n1", "n3", "n4"}).seed == ("p1", "p3")


def test_division_is_bounded():
    record = found("b", "10.32.0.0/12")
    nodes = {f"n{number:03}" for number in range(limits.MAX_SEED + 9)}
    for node in nodes:
        record = admit(record, f"p{node}", node)
    assert len(seal(record, nodes).seed) == limits.MAX_SEED


def test_claimed_peer_is_no_member_and_finished_one_is_forgotten():
    record = claim(three(), "p3", "p1")
    assert "p3" not in record.members
    assert claim(record, "p3", "p2").leaving["p3"] == Leaving("n3", "p2", 2)
    assert finish(record, "p3").leaving == {}


SOUND = encode(three())


@pytest.mark.parametrize("content", [
    "", "[]", "7", "{", "[" * 5000, SOUND.replace('"format":1', '"format":2'), SOUND.replace('"n1"', "7"),
    SOUND.replace('"starts":1', '"starts":-1'), SOUND.replace('"starts":1', '"starts":true'),
    SOUND.replace('"seed":[]', '"seed":[7]'), SOUND.replace('"seed":[]', '"seed":{}'),
    SOUND.replace('"leaving":{}', '"leaving":[]'), SOUND.replace('"leaving":{}', '"leaving":{"p":7}'),
    SOUND.replace('"p1"', '""'), "x" * 1_000_000,
])
def test_record_that_is_none_is_refused(content):
    with pytest.raises(RemoteError):
        decode(content)
