import tracemalloc
from collections.abc import Callable

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave.errors import RemoteError
from weave.wire import (
    MAX_DEPTH,
    MAX_ITEMS,
    MAX_MESSAGE_BYTES,
    Plain,
    WireError,
    expect_bool,
    expect_bytes,
    expect_int,
    expect_list,
    expect_map,
    expect_str,
    pack,
    unpack,
)

scalars = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.text() | st.binary()
plain = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5), max_leaves=20
)


def nested(depth: int) -> Plain:
    return [nested(depth - 1)] if depth else 1


@given(plain)
def test_plain_values_survive_the_wire(value: Plain) -> None:
    if depth_of(value) <= MAX_DEPTH:
        assert unpack(pack(value)) == value


def depth_of(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth_of, inner), default=0)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_in_its_one_shape_or_refused(data: bytes) -> None:
    try:
        value = unpack(data)
    except WireError:
        return
    assert pack(value) == data  # type: ignore[arg-type]


@given(plain, st.data())
def test_truncated_messages_are_refused(value: Plain, data: st.DataObject) -> None:
    packed = pack(value)
    with pytest.raises(WireError):
        unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "undecodable"),
        (b"\xc1", "undecodable"),
        (b"\xc0\xc0", "undecodable"),
        (b"\xa2\xff\xfe", "undecodable"),
        (b"\x91" * 2000, "undecodable"),
        (b"\xdd\x7f\xff\xff\xff\x01", "undecodable"),
        (b"\x81\x01\x02", "undecodable"),
        (b"\x81\xc4\x01a\x02", "no string"),
        (b"\xca\x3f\x80\x00\x00", "holds a float"),
        (b"\xcb" + bytes(8), "holds a float"),
        (b"\xd4\x05a", "holds a ExtType"),
        (b"\xd6\xff\x00\x00\x00\x00", "holds a Timestamp"),
        (b"\x82\xa1a\x01\xa1a\x02", "one shape"),
        (b"\xcc\x01", "one shape"),
        (b"\xd9\x01a", "one shape"),
        (b"\xdc\x00\x01\x01", "one shape"),
    ],
)
def test_what_is_not_plain_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(WireError, match=why):
        unpack(data)


def test_refusals_count_against_the_peer() -> None:
    assert issubclass(WireError, RemoteError)


def test_depth_is_bounded() -> None:
    assert unpack(pack(nested(MAX_DEPTH - 1))) == nested(MAX_DEPTH - 1)
    with pytest.raises(WireError, match="nested deeper"):
        unpack(pack(nested(MAX_DEPTH)))


@pytest.mark.parametrize("make", [lambda n: [None] * n, lambda n: {str(i): None for i in range(n)}])
def test_length_of_lists_and_maps_is_bounded(make: Callable[[int], Plain]) -> None:
    assert unpack(pack(make(MAX_ITEMS))) == make(MAX_ITEMS)
    with pytest.raises(WireError):
        unpack(pack(make(MAX_ITEMS + 1)))
    assert unpack(pack(make(3)), max_items=3) == make(3)
    with pytest.raises(WireError):
        unpack(pack(make(4)), max_items=3)


def test_size_is_bounded_before_anything_is_decoded() -> None:
    with pytest.raises(WireError, match=f"{MAX_MESSAGE_BYTES + 1} bytes"):
        unpack(bytes(MAX_MESSAGE_BYTES + 1))
    with pytest.raises(WireError, match="limit of 3"):
        unpack(pack("abc"), max_bytes=3)


def test_lengths_that_lie_take_little_memory() -> None:
    tracemalloc.start()
    with pytest.raises(WireError):
        unpack(b"\xdc\x03\xe8" * 400)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1200 * 8 * 400 + (1 << 20)


def test_text_is_no_bytes() -> None:
    assert unpack(pack("a")) == "a"
    assert unpack(pack(b"a")) == b"a"


def test_packing_is_what_others_understand() -> None:
    assert msgpack.unpackb(pack({"a": [1, b"b", "c", None, True]})) == {"a": [1, b"b", "c", None, True]}


ACCEPTED: list[tuple[Callable[[object, str], object], object]] = [
    (expect_int, 0),
    (expect_int, (1 << 63) - 1),
    (lambda value, what: expect_int(value, what, low=-5, high=5), -5),
    (expect_bool, False),
    (expect_bytes, b""),
    (lambda value, what: expect_bytes(value, what, size=2), b"ab"),
    (lambda value, what: expect_bytes(value, what, most=2), b"a"),
    (expect_str, ""),
    (expect_str, "ä" * 255),
    (expect_list, []),
    (lambda value, what: expect_list(value, what, size=2), [1, 2]),
    (expect_map, {}),
]


@pytest.mark.parametrize(("validate", "value"), ACCEPTED)
def test_validators_return_what_fits(validate: Callable[[object, str], object], value: object) -> None:
    assert validate(value, "it") is value


REFUSED: list[tuple[Callable[[object, str], object], object]] = [
    (expect_int, True),
    (expect_int, -1),
    (expect_int, 1 << 63),
    (expect_int, "1"),
    (expect_bool, 1),
    (expect_bool, None),
    (expect_bytes, "text"),
    (lambda value, what: expect_bytes(value, what, size=2), b"abc"),
    (lambda value, what: expect_bytes(value, what, most=2), b"abc"),
    (expect_str, b"bytes"),
    (expect_str, "a\n"),
    (expect_str, "\x1b[31m"),
    (expect_str, "\u202e"),
    (expect_str, "a" * 256),
    (expect_list, {}),
    (lambda value, what: expect_list(value, what, size=2), [1]),
    (lambda value, what: expect_list(value, what, most=2), [1, 2, 3]),
    (expect_map, []),
]


@pytest.mark.parametrize(("validate", "value"), REFUSED)
def test_validators_name_what_does_not_fit(validate: Callable[[object, str], object], value: object) -> None:
    with pytest.raises(WireError, match=r"^the thing should be "):
        validate(value, "the thing")
