"""The codec of messages: what goes in comes out, and what is not a message is one kind of error."""

import pytest

from tests.fuzz.targets.messages import EXAMPLES
from tests.unit.mesh.fixtures import entry, name
from weave import wire
from weave.mesh import limits
from weave.mesh.messages import Delta, Group, Heartbeat, Message, Unknown, decode, encode, size_of
from weave.wire import WireError


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_message_survives_the_wire(message: Message) -> None:
    assert decode(encode(message)) == message


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_truncated_message_is_refused_at_every_offset(message: Message) -> None:
    data = encode(message)
    for size in range(len(data)):
        with pytest.raises(WireError):
            decode(data[:size])


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_fields_of_a_later_version_are_skipped(message: Message) -> None:
    fields = wire.unpack(encode(message))
    assert isinstance(fields, list)
    assert decode(wire.pack([*fields, {"later": 1}, "more"])) == message


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_estimated_size_is_about_right(message: Message) -> None:
    assert abs(size_of(message) - len(encode(message))) <= 24 + len(encode(message)) // 4


def test_message_of_a_later_version_is_unknown() -> None:
    assert decode(wire.pack([99, "whatever", 3])) == Unknown(99)


@pytest.mark.parametrize(
    "fields",
    [
        [],
        {},
        7,
        [0],
        [0, 1, 2, 3],
        [0, -1, 0, 0, []],
        [0, 1, 0, 0, [["dns"]]],
        [0, 1, 0, 0, [["dns", "no number"]]],
        [0, 1, 0, 0, [["x" * 100, 1]]],
        [1, "dns", [1, 2]],
        [2, "dns", 1, [[b"short", 1, 2]]],
        [2, "dns", 1, [[1]]],
        [3, "dns", [[b"123456"]]],
        [4, "dns", 5, None],
        [5, b"123456", b"123456", 99, "ipam", b""],
        [5, b"123456", b"123456", 1, "ipam", "text"],
        [6, b"reason"],
    ],
)
def test_malformed_message_is_refused(fields: wire.Plain) -> None:
    with pytest.raises(WireError):
        decode(wire.pack(fields))


def test_bad_entry_does_not_cost_the_good_ones_beside_it() -> None:
    good = entry(1, b"k", 3, b"v")
    fields = wire.unpack(encode(Delta("dns", (Group(name(1), b"identity", (good,)),))))
    assert isinstance(fields, list)
    fields[2][0][2] += [[b"k", -1, b"v", b"s"], "nonsense", [b"k"], [b"k" * 1000, 1, b"", b""]]
    fields[2].append([b"short", b"identity", []])
    delta = decode(wire.pack(fields))
    assert isinstance(delta, Delta)
    assert delta.groups[0].entries == (good,)
    assert delta.malformed == 5


def test_oversized_value_is_refused_alone() -> None:
    big = entry(1, b"k", 3, b"v" * (limits.MAX_VALUE_BYTES + 1))
    delta = decode(encode(Delta("dns", (Group(name(1), b"identity", (big, entry(1, b"l", 4, b"v"))),))))
    assert isinstance(delta, Delta)
    assert [each.key for each in delta.groups[0].entries] == [b"l"]


def test_heartbeat_is_small() -> None:
    roots = tuple((channel, 1 << 63) for channel in ("dns", "endpoints", "ipam", "topology"))
    assert len(encode(Heartbeat(1 << 40, 1 << 40, 1 << 20, roots))) <= 110
