"""Sessions back to back: every message arrives once, in order and unaltered, or the session breaks."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weave.errors import LocalError
from weave.mesh import framing
from weave.mesh.framing import MAX_PIECE_BYTES, FramingError, Session
from weave.noise.cipher_state import CipherState
from weave.noise.protocol import AES_GCM
from weave.wire import MAX_MESSAGE_BYTES

from .pairs import secret, session_pair

SIZES = [0, 1, MAX_PIECE_BYTES - 1, MAX_PIECE_BYTES, MAX_PIECE_BYTES + 1, 2 * MAX_PIECE_BYTES, MAX_MESSAGE_BYTES]


def sealed_by_hand(*plaintexts: bytes) -> bytes:
    """Return records with these insides, as an insider without our manners would send them."""
    cipher = CipherState(AES_GCM, secret("one"))
    sealed = [cipher.encrypt(plaintext) for plaintext in plaintexts]
    return b"".join(len(record).to_bytes(2) + record for record in sealed)


@pytest.mark.parametrize("size", SIZES)
def test_messages_of_every_size_arrive(size: int) -> None:
    here, there = session_pair()
    message = bytes(size)
    records = here.seal(message)
    assert there.receive(records) == [message]
    overhead = (max(size, 1) + MAX_PIECE_BYTES - 1) // MAX_PIECE_BYTES * 19
    assert len(records) == size + overhead


def test_too_long_a_message_is_the_callers_fault() -> None:
    here, there = session_pair()
    with pytest.raises(LocalError):
        here.seal(bytes(MAX_MESSAGE_BYTES + 1))
    assert there.receive(here.seal(b"still fine")) == [b"still fine"]


@given(st.lists(st.binary(max_size=40), max_size=12), st.integers(1, 60), st.booleans())
@settings(deadline=None, max_examples=50)
def test_pieces_of_the_stream_do_not_matter(messages: list[bytes], size: int, backwards: bool) -> None:
    here, there = session_pair()
    if backwards:
        here, there = there, here
    stream = b"".join(map(here.seal, messages))
    received = [m for at in range(0, len(stream), size) for m in there.receive(stream[at : at + size])]
    assert received == messages


def test_byte_at_a_time_over_two_records() -> None:
    here, there = session_pair()
    message = bytes(range(256)) * 280
    stream = here.seal(message)
    *early, last = [there.receive(stream[at : at + 1]) for at in range(len(stream))]
    assert not any(early)
    assert last == [message]


def test_truncated_stream_waits() -> None:
    here, there = session_pair()
    stream = here.seal(b"one") + here.seal(b"two")
    for cut in range(len(stream)):
        here, there = session_pair()
        assert there.receive(stream[:cut]) + there.receive(stream[cut:]) == [b"one", b"two"]


def test_flipped_bit_anywhere_delivers_nothing_false() -> None:
    here, _ = session_pair()
    stream = here.seal(b"one") + here.seal(b"two")
    for offset in range(len(stream)):
        _, there = session_pair()
        flipped = bytearray(stream)
        flipped[offset] ^= 1 << offset % 8
        received: list[bytes] = []
        for at in range(len(flipped)):
            try:
                received += there.receive(flipped[at : at + 1])
            except FramingError:
                break
        assert received == [b"one", b"two"][: len(received)]
        assert len(received) < 2


def record(number: int) -> bytes:
    here, _ = session_pair()
    return [here.seal(b"%d" % index) for index in range(number + 1)][-1]


@pytest.mark.parametrize("order", [(0, 0), (1,), (1, 0), (0, 2)], ids=str)
def test_replayed_skipped_or_reordered_records_break_the_session(order: tuple[int, ...]) -> None:
    _, there = session_pair()
    with pytest.raises(FramingError):
        there.receive(b"".join(map(record, order)))
    with pytest.raises(FramingError, match="broke before"):
        there.receive(record(0))


def test_own_records_reflected_break_the_session() -> None:
    here, _ = session_pair()
    with pytest.raises(FramingError):
        here.receive(here.seal(b"mine"))


BAD = {
    "too short to hold a tag": b"\0\x10" + bytes(16),
    "length zero": b"\0\0",
    "unknown flag": sealed_by_hand(b"\x02x"),
    "no flag": sealed_by_hand(b""),
    "more after nothing": sealed_by_hand(b"\x01"),
    "more, then unknown flag": sealed_by_hand(b"\x01x", b"\x07"),
}


@pytest.mark.parametrize("case", BAD)
def test_records_out_of_order_are_refused(case: str) -> None:
    _, there = session_pair()
    with pytest.raises(FramingError):
        there.receive(BAD[case])


def test_short_record_is_refused_by_its_header() -> None:
    _, there = session_pair()
    with pytest.raises(FramingError):
        there.receive(b"\0\x10")


def test_message_without_end_is_refused_at_the_limit() -> None:
    _, there = session_pair()
    endless = sealed_by_hand(*[b"\1" + bytes(MAX_PIECE_BYTES)] * (MAX_MESSAGE_BYTES // MAX_PIECE_BYTES + 1))
    with pytest.raises(FramingError, match="over the limit"):
        there.receive(endless)


def test_small_pieces_are_joined() -> None:
    _, there = session_pair()
    assert there.receive(sealed_by_hand(b"\x01a", b"\x01b", b"\0", b"\0c")) == [b"ab", b"c"]


def test_keys_change_on_both_ends_at_the_same_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "REKEY_RECORDS", 3)
    here, there = session_pair()
    plain = CipherState(AES_GCM, secret("one"))
    same_key = []
    for number in range(10):
        message = b"%d" % number
        sealed = here.seal(message)
        same_key.append(sealed[2:] == plain.encrypt(b"\0" + message))
        assert there.receive(sealed) == [message]
        assert here.receive(there.seal(message)) == [message]
    assert same_key == [True] * 3 + [False] * 7


def test_chunk_of_many_small_records_costs_linear_time() -> None:
    def cost(count: int) -> float:
        here, there = session_pair()
        chunk = b"".join(here.seal(b"x") for _ in range(count))
        start = time.perf_counter()
        assert len(there.receive(chunk)) == count
        return time.perf_counter() - start

    small, large = min(cost(200) for _ in range(3)), min(cost(4000) for _ in range(3))
    assert large < 200 * small, "quadratic would be 400 times"


def test_representation_hides_keys() -> None:
    here, _ = session_pair()
    assert isinstance(here, Session)
    assert secret("one").hex() not in repr(here)
