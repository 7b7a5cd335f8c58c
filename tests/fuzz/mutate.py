"""Endless, repeatable mutations of sample inputs, for machines and test runs without coverage guidance.

Mutation number i of a name is always the same bytes for the same samples. The edits are those that break decoders:
lengths that lie, truncation, repetition, pieces of one message inside another.
"""

from collections.abc import Callable, Iterator, Sequence
from random import Random

MAX_EDITS = 6
MAX_RUN = 64
"""Octets that one edit inserts, removes or repeats at most."""
BOUNDARIES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, (1 << 64) - 1)
"""Numbers at which lengths and counters go wrong."""
TOKENS = (
    b"\xdd\xff\xff\xff\xff",  # msgpack: an array of four milliards
    b"\xdf\xff\xff\xff\xff",  # msgpack: a map of as many
    b"\xc6\xff\xff\xff\xff",  # msgpack: a byte string of as many
    b"\x91" * 32,  # msgpack: thirty-two arrays in each other
    b"\xc7\x00\x01",  # msgpack: an extension type
    b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",  # msgpack: not a number
    b"\xc0\x0c",  # DNS: a pointer to the start of the question
    b"\x3f" + b"a" * 63,  # DNS: the longest label
    b"\r\n\r\n",
    b'{"a":' * 8,
    b"\x00" * 16,
    "\u202e\u0000\ud7ff".encode(),
)

Edit = Callable[[Random, bytearray, Sequence[bytes]], None]


def _spot(rng: Random, data: bytearray) -> int:
    return rng.randrange(len(data) + 1)


def _flip_bit(rng: Random, data: bytearray, _samples: Sequence[bytes]) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set_octet(rng: Random, data: bytearray, _samples: Sequence[bytes]) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.randrange(256)


def _set_number(rng: Random, data: bytearray, _samples: Sequence[bytes]) -> None:
    size = rng.choice((1, 2, 4, 8))
    number = (rng.choice(BOUNDARIES) + rng.randint(-1, 1)) % (1 << 8 * size)
    at = _spot(rng, data)
    data[at : at + size] = number.to_bytes(size, rng.choice(("big", "little")))


def _insert_noise(rng: Random, data: bytearray, _samples: Sequence[bytes]) -> None:
    at = _spot(rng, data)
    data[at:at] = rng.randbytes(rng.randint(1, 8))


def _insert_token(rng: Random, data: bytearray, _samples: Sequence[bytes]) -> None:
    at = _spot(rng, data)
    data[at : at + rng.choice((0, 1))] = rng.choice(TOKENS)


def _remove_run(rng: Random, data: bytearray, _samples: Sequence[bytes]) -> None:
    at = _spot(rng, data)
    del data[at : at + rng.randint(1, MAX_RUN)]


def _repeat_run(rng: Random, data: bytearray, _samples: Sequence[bytes]) -> None:
    at = _spot(rng, data)
    data[at:at] = data[at : at + rng.randint(1, MAX_RUN)] * rng.randint(1, 4)


def _truncate(rng: Random, data: bytearray, _samples: Sequence[bytes]) -> None:
    del data[_spot(rng, data) :]


def _splice(rng: Random, data: bytearray, samples: Sequence[bytes]) -> None:
    other = bytearray(rng.choice(samples))
    data[_spot(rng, data) :] = other[_spot(rng, other) :]


EDITS: tuple[Edit, ...] = (
    _flip_bit,
    _set_octet,
    _set_number,
    _insert_noise,
    _insert_token,
    _remove_run,
    _repeat_run,
    _truncate,
    _splice,
)


def mutations(name: str, samples: Sequence[bytes], max_bytes: int) -> Iterator[bytes]:
    """Yield mutations for ever."""
    pool = sorted(set(samples)) or [b""]
    number = 0
    while True:
        rng = Random(f"{name}:{number}")
        data = bytearray(rng.choice(pool))
        for _ in range(rng.randint(1, MAX_EDITS)):
            rng.choice(EDITS)(rng, data, pool)
        yield bytes(data[:max_bytes])
        number += 1
