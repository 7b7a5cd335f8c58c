"""The one adapter of msgpack: how values become bytes between peers, and how strangers' bytes become values.

Decoding bounds size, depth and counts before it allocates, and rejects rather than guesses: what is not the plain
subset below is a `WireError`. The plain subset is nil, bool, int (64 bit), str, bytes, lists and maps with string keys.
Floats, extension types and duplicate shapes of the same value are not part of it.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgpack

from weave.errors import RemoteError

Plain: TypeAlias = "bool | int | str | bytes | Sequence[Plain] | Mapping[str, Plain] | None"
"""What may be packed."""

MAX_MESSAGE_BYTES = 1 << 20
"""The largest value that is ever decoded; a full delta of a large mesh is split below this."""
MAX_ITEMS = 1 << 14
"""The longest list or map that is ever decoded."""
MAX_DEPTH = 12
"""The deepest nesting that is ever decoded; ours never passes 6."""


class WireError(RemoteError):
    """Bytes from outside that are not what was agreed."""


def pack(value: Plain) -> bytes:
    """Encode a plain value."""
    encoded = msgpack.packb(value, use_bin_type=True)
    assert isinstance(encoded, bytes)
    return encoded


def unpack(data: bytes, *, max_bytes: int = MAX_MESSAGE_BYTES, max_items: int = MAX_ITEMS) -> object:
    """Decode one plain value that fills `data` exactly; raise `WireError` for anything else."""
    if len(data) > max_bytes:
        raise WireError(f"message of {len(data)} bytes is over the limit of {max_bytes}")
    try:
        # A list has room made for it before its items are read, so none may claim more items than there are octets.
        most = min(max_items, len(data))
        value: object = msgpack.unpackb(data, raw=False, strict_map_key=True, max_array_len=most, max_map_len=most)
    except (ValueError, TypeError, msgpack.exceptions.UnpackException, RecursionError) as exc:
        raise WireError(f"undecodable message: {type(exc).__name__}: {exc}") from exc
    _reject_exotic(value, MAX_DEPTH)
    if msgpack.packb(value, use_bin_type=True) != data:
        raise WireError("message is not packed in the one shape: a key comes twice, or a number is longer than needed")
    return value


def _reject_exotic(value: object, depth: int) -> None:
    """Raise `WireError` for floats, extension types, non-string keys and what is nested too deep."""
    if depth == 0:
        raise WireError(f"message is nested deeper than {MAX_DEPTH}")
    if isinstance(value, list):
        for item in value:
            _reject_exotic(item, depth - 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise WireError("message has a map key that is no string")
            _reject_exotic(item, depth - 1)
    elif value is not None and not isinstance(value, bool | int | str | bytes):
        raise WireError(f"message holds a {type(value).__name__}")


def expect_int(value: object, what: str, low: int = 0, high: int = (1 << 63) - 1) -> int:
    """Return `value` where it is an integer within bounds (a bool is none); raise `WireError` naming `what`."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise WireError(f"{what} should be an integer from {low} to {high}")
    return value


def expect_bool(value: object, what: str) -> bool:
    """Return `value` where it is a bool; raise `WireError` naming `what`."""
    if not isinstance(value, bool):
        raise WireError(f"{what} should be true or false")
    return value


def expect_bytes(value: object, what: str, *, size: int | None = None, most: int = MAX_MESSAGE_BYTES) -> bytes:
    """Return `value` where it is a byte string of exactly `size` or at most `most` octets; raise `WireError`."""
    if not isinstance(value, bytes) or len(value) > most or (size is not None and len(value) != size):
        raise WireError(f"{what} should be {'up to ' + str(most) if size is None else size} bytes")
    return value


def expect_str(value: object, what: str, *, most: int = 255) -> str:
    """Return `value` where it is text of at most `most` characters without control characters; raise `WireError`."""
    if not isinstance(value, str) or len(value) > most or not value.isprintable():
        raise WireError(f"{what} should be printable text of up to {most} characters")
    return value


def expect_list(value: object, what: str, *, size: int | None = None, most: int = MAX_ITEMS) -> list[object]:
    """Return `value` where it is a list of exactly `size` or at most `most` items; raise `WireError`."""
    if not isinstance(value, list) or len(value) > most or (size is not None and len(value) != size):
        raise WireError(f"{what} should be a list of {'up to ' + str(most) if size is None else size} items")
    return value


def expect_map(value: object, what: str) -> dict[str, object]:
    """Return `value` where it is a map with string keys; raise `WireError` naming `what`."""
    if not isinstance(value, dict):
        raise WireError(f"{what} should be a map")
    return value
