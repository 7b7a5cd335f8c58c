"""What strangers and people on the way can do to a handshake: end it, and nothing else."""

import pytest

from weave.mesh.handshake import Established, Handshake, HandshakeRefused, Reason
from weave.mesh.reasons import MAX_DETAIL_CHARACTERS, decode_refusal, encode_refusal
from weave.wire import pack

from .pairs import ALICE, BOB, End, connect, feed

GOOD = connect(End(ALICE), End(BOB))
STREAMS = {"initiator": GOOD.from_responder, "responder": GOOD.from_initiator}
"""By who hears it. All keys are fixed, so either end can be replayed against the recording of the other."""


def listener(role: str) -> Handshake:
    handshake = (End(ALICE) if role == "initiator" else End(BOB)).handshake(initiator=role == "initiator")
    handshake.start()
    return handshake


@pytest.mark.parametrize("role", STREAMS)
def test_recording_is_faithful(role: str) -> None:
    assert isinstance(feed(listener(role), STREAMS[role])[1], Established)


@pytest.mark.parametrize("role", STREAMS)
def test_truncated_anywhere_waits_and_then_goes_on(role: str) -> None:
    stream = STREAMS[role]
    for cut in range(0, len(stream), 5):
        handshake = listener(role)
        assert feed(handshake, stream[:cut])[1] is None
        assert isinstance(feed(handshake, stream[cut:])[1], Established)


@pytest.mark.parametrize("role", STREAMS)
def test_flipped_bit_anywhere_never_connects(role: str) -> None:
    stream = STREAMS[role]
    for offset in range(len(stream)):
        flipped = bytearray(stream)
        flipped[offset] ^= 1 << offset % 8
        outcome = feed(listener(role), bytes(flipped))[1]
        assert not isinstance(outcome, Established), f"flipped at {offset}"


@pytest.mark.parametrize("role", STREAMS)
def test_duplicated_stream_never_connects_twice(role: str) -> None:
    handshake = listener(role)
    _, outcome = feed(handshake, STREAMS[role] * 2)
    assert isinstance(outcome, Established)
    assert outcome.leftover == STREAMS[role]


def records(stream: bytes) -> list[bytes]:
    found, at = [], 8
    while at < len(stream):
        end = at + 3 + int.from_bytes(stream[at + 1 : at + 3])
        found.append(stream[at:end])
        at = end
    return found


@pytest.mark.parametrize("role", STREAMS)
def test_duplicated_or_reordered_records_are_refused(role: str) -> None:
    head, parts = STREAMS[role][:8], records(STREAMS[role])
    orders = [[parts[0], parts[0]], parts[::-1], parts[1:], [parts[-1]]]
    for order in orders:
        _, outcome = feed(listener(role), head + b"".join(order))
        assert isinstance(outcome, HandshakeRefused)
        assert outcome.reason in {Reason.TAMPERED, Reason.MALFORMED}


def test_reflected_bytes_are_refused() -> None:
    initiator = End(ALICE).handshake(initiator=True)
    _, outcome = feed(initiator, initiator.start())
    assert isinstance(outcome, HandshakeRefused)
    assert outcome.reason is Reason.TAMPERED


NOT_WEAVE = [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02\x00\x01", b"SSH-2.0-OpenSSH\r\n", b"\0" * 8, b"weavE\3\3\1"]


@pytest.mark.parametrize("role", STREAMS)
@pytest.mark.parametrize("junk", NOT_WEAVE)
def test_other_protocols_are_told_apart_at_once(role: str, junk: bytes) -> None:
    _, outcome = feed(listener(role), junk)
    assert isinstance(outcome, HandshakeRefused)
    assert outcome.reason is Reason.NOT_WEAVE
    assert outcome.reply == b""
    assert outcome.detail.isprintable()


def test_one_foreign_byte_is_enough() -> None:
    _, outcome = feed(listener("responder"), b"G")
    assert isinstance(outcome, HandshakeRefused)


@pytest.mark.parametrize("role", STREAMS)
def test_archived_weave_net_is_a_version_mismatch(role: str) -> None:
    _, outcome = feed(listener(role), b"weave\x01\x02")
    assert isinstance(outcome, HandshakeRefused)
    assert outcome.reason is Reason.VERSION_MISMATCH
    assert outcome.reply.endswith(b"version 3, the other end versions 1 to 2")
    if role == "responder":
        assert outcome.reply.startswith(b"weave\x03\x03")


@pytest.mark.parametrize("preamble", [b"weave\x05\x03\x01", b"weave\x00\x03\x01", b"weave\x03\x03\x00"])
def test_preamble_without_sense_is_malformed(preamble: bytes) -> None:
    _, outcome = feed(listener("responder"), preamble)
    assert isinstance(outcome, HandshakeRefused)
    assert outcome.reason is Reason.MALFORMED


@pytest.mark.parametrize(("kind", "limit"), [(1, 2300), (2, 700), (3, 700)])
def test_oversized_record_is_refused_by_its_header(kind: int, limit: int) -> None:
    _, outcome = feed(listener("responder"), STREAMS["responder"][:8] + bytes([kind]) + limit.to_bytes(2))
    assert isinstance(outcome, HandshakeRefused)
    assert outcome.reason is Reason.OVERSIZED


def test_unknown_record_kind_is_malformed() -> None:
    _, outcome = feed(listener("responder"), STREAMS["responder"][:8] + b"\x09\0\0")
    assert isinstance(outcome, HandshakeRefused)
    assert outcome.reason is Reason.MALFORMED


SENSELESS = [b"", b"\xc1", pack([]), pack(["x"]), pack([1]), pack([True, ""]), pack([1, "\x1b"]), b"\xff" * 99]


@pytest.mark.parametrize("body", SENSELESS)
def test_senseless_refusal_is_still_a_refusal(body: bytes) -> None:
    assert decode_refusal(body) == (Reason.OTHER, "")


def test_refusal_of_a_newer_version_is_understood_as_far_as_it_goes() -> None:
    assert decode_refusal(pack([1, "", "new field"])) == (Reason.WRONG_PASSWORD, "")
    assert decode_refusal(pack([9999, "moon phase"])) == (Reason.OTHER, "moon phase")


def test_detail_is_bounded_and_printable() -> None:
    _, detail = decode_refusal(encode_refusal(Reason.TIMEOUT, "\n" + "😀" * 999))
    assert detail == "?" + "😀" * (MAX_DETAIL_CHARACTERS - 1)


def test_codes_are_unique_and_sentences_readable() -> None:
    assert len({reason.code for reason in Reason}) == len(Reason)
    for reason in Reason:
        assert Reason.from_code(reason.code) is reason
        assert reason.mirrored.mirrored is reason
        assert reason.sentence.isprintable()
        assert "weave reset" not in reason.sentence, "it gives away ranges, which may be those of the other machine"
