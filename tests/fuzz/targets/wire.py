"""The msgpack adapter: any bytes either are a plain value, which packs and unpacks to itself, or a `WireError`."""

from contextlib import suppress

from weave.wire import (
    MAX_DEPTH,
    MAX_ITEMS,
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

VALIDATORS = (expect_bool, expect_bytes, expect_int, expect_list, expect_map, expect_str)


def target(data: bytes) -> None:
    try:
        value = unpack(data)
    except WireError:
        return
    expect_plain(value, MAX_DEPTH)
    assert pack(value) == data  # type: ignore[arg-type]
    for validate in VALIDATORS:
        with suppress(WireError):
            assert validate(value, "the value") is value


def expect_plain(value: object, depth: int) -> None:
    assert depth > 0
    if isinstance(value, list):
        assert len(value) <= MAX_ITEMS
        for item in value:
            expect_plain(item, depth - 1)
    elif isinstance(value, dict):
        assert len(value) <= MAX_ITEMS
        for key, item in value.items():
            assert type(key) is str
            expect_plain(item, depth - 1)
    else:
        assert type(value) in (type(None), bool, int, str, bytes)


def nested(depth: int) -> Plain:
    return [nested(depth - 1)] if depth else None


SEEDS: list[bytes] = [
    b"",
    pack(None),
    pack([True, False, 0, -1, 127, -33, 1 << 63, -(1 << 63), (1 << 64) - 1]),
    pack({"name": "7a:9f:eb:b6:0c:6e", "value": b"\0\xff", "list": [1, [2, [3]]], "": {}}),
    pack("wörter"),
    pack(nested(MAX_DEPTH - 1)),
    pack(nested(MAX_DEPTH)),
    b"\x91" * 2000,
    b"\xdc\x3f\xff" * 1000,
    b"\xdd\x7f\xff\xff\xff\x01",
    b"\x82\xa1a\x01\xa1a\x02",
    b"\x81\x01\x02",
    b"\x81\xc4\x01a\x02",
    b"\xa2\xff\xfe",
    b"\xca\x7f\xc0\x00\x00",
    b"\xd6\xff\x00\x00\x00\x00",
    b"\xc1",
    b"\xc0\xc0",
]
