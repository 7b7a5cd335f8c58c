"""What two ends of a handshake make of each other."""

import pytest

from weave.errors import LocalError
from weave.mesh.handshake import Established, Handshake, HandshakeRefused, Reason
from weave.mesh.identity import Identity

from .pairs import ALICE, BOB, End, connect, feed, reasons

PLAIN = End(ALICE), End(BOB)


def established(first: End, second: End, size: int | None = None) -> tuple[Established, Established]:
    seen = connect(first, second, size)
    assert isinstance(seen.initiator, Established), seen.initiator
    assert isinstance(seen.responder, Established), seen.responder
    return seen.initiator, seen.responder


@pytest.mark.parametrize("size", [None, 1, 7, 64])
def test_two_ends_learn_each_other_and_talk(size: int | None) -> None:
    here, there = established(*PLAIN, size)
    assert here.hello == End(BOB).hello()
    assert there.hello == End(ALICE).hello()
    assert there.session.receive(here.session.seal(b"ping")) == [b"ping"]
    assert here.session.receive(there.session.seal(b"pong")) == [b"pong"]
    assert (here.leftover, there.leftover, here.protocol, there.protocol) == (b"", b"", 3, 3)


def test_open_mesh_connects_without_password() -> None:
    established(End(ALICE, words=("",)), End(BOB, words=("",)))


def test_what_follows_the_last_record_is_left_over() -> None:
    initiator, responder = End(ALICE).handshake(initiator=True), End(BOB).handshake(initiator=False)
    reply = initiator.receive(responder.receive(initiator.start()))
    verdict = responder.receive(reply)
    assert responder.established is not None
    early = responder.established.session.seal(b"early")
    assert initiator.receive(verdict + early) == b""
    assert initiator.established is not None
    assert initiator.established.session.receive(initiator.established.leftover) == [b"early"]
    with pytest.raises(LocalError):
        initiator.receive(b"more")


REFUSALS = {
    "wrong password": (End(ALICE, words=("a",)), End(BOB, words=("b",)), Reason.WRONG_PASSWORD, Reason.WRONG_PASSWORD),
    "password only there": (
        End(ALICE, words=("",)), End(BOB), Reason.PASSWORD_MISSING_HERE, Reason.PASSWORD_MISSING_THERE),
    "password only here": (
        End(ALICE), End(BOB, words=("",)), Reason.PASSWORD_MISSING_THERE, Reason.PASSWORD_MISSING_HERE),
    "versions apart": (
        End(ALICE, versions=(3, 3)), End(BOB, versions=(4, 6)), Reason.VERSION_MISMATCH, Reason.VERSION_MISMATCH),
    "versions apart, other way": (
        End(ALICE, versions=(4, 6)), End(BOB, versions=(1, 3)), Reason.VERSION_MISMATCH, Reason.VERSION_MISMATCH),
    "ourselves": (End(ALICE), End(ALICE), Reason.SELF_CONNECTION, Reason.SELF_CONNECTION),
    "copied disk": (End(ALICE, uid=1), End(ALICE, uid=2), Reason.CLONED_IDENTITY, Reason.CLONED_IDENTITY),
    "judge here": (
        End(ALICE, judge=lambda _: Reason.DUPLICATE_NAME), End(BOB), Reason.DUPLICATE_NAME, Reason.DUPLICATE_NAME),
    "judge there": (
        End(ALICE), End(BOB, judge=lambda _: Reason.DUPLICATE_NAME), Reason.DUPLICATE_NAME, Reason.DUPLICATE_NAME),
}


@pytest.mark.parametrize("size", [None, 1])
@pytest.mark.parametrize("case", REFUSALS)
def test_both_ends_show_the_reason(case: str, size: int | None) -> None:
    first, second, here, there = REFUSALS[case]
    assert reasons(connect(first, second, size)) == (here, there)


def test_version_mismatch_names_both_ranges() -> None:
    seen = connect(End(ALICE, versions=(3, 3)), End(BOB, versions=(4, 6)))
    assert "this end speaks version 3, the other end versions 4 to 6" in str(seen.initiator)
    assert "this end speaks versions 4 to 6, the other end version 3" in str(seen.responder)


def test_refusal_of_the_judge_names_the_two_peers() -> None:
    seen = connect(End(ALICE), End(BOB, judge=lambda _: Reason.DUPLICATE_NAME))
    assert isinstance(seen.initiator, HandshakeRefused)
    assert seen.initiator.detail.startswith("says the other end: host-")
    assert ALICE.name in seen.initiator.detail
    assert BOB.name in seen.initiator.detail


ROTATION = [
    # dials with, accepts: index of the password that the responder found
    (("old",), ("old", "new"), 0),
    (("new", "old"), ("old", "new"), 1),
    (("new",), ("new", "old"), 0),
    (("",), ("secret", ""), 1),
    (("secret", ""), ("", "secret"), 1),
]


@pytest.mark.parametrize(("dials", "accepts", "found"), ROTATION)
def test_passwords_rotate_without_an_outage(dials: tuple[str, ...], accepts: tuple[str, ...], found: int) -> None:
    here, there = established(End(ALICE, words=dials), End(BOB, words=accepts))
    assert (here.psk_index, there.psk_index) == (0, found)


def test_initiator_uses_its_first_password_only() -> None:
    seen = connect(End(ALICE, words=("new", "old")), End(BOB, words=("old",)))
    assert reasons(seen) == (Reason.WRONG_PASSWORD, Reason.WRONG_PASSWORD)


VERSIONS = [((3, 3), (3, 4), 3), ((3, 5), (2, 4), 4), ((1, 255), (3, 7), 7)]


@pytest.mark.parametrize(("one", "other", "agreed"), VERSIONS)
def test_highest_common_version_is_spoken(one: tuple[int, int], other: tuple[int, int], agreed: int) -> None:
    for first, second in ((one, other), (other, one)):
        here, there = established(End(ALICE, versions=first), End(BOB, versions=second))
        assert (here.protocol, there.protocol) == (agreed, agreed)


def test_newer_version_with_unknown_fields_connects() -> None:
    newer = End(BOB, versions=(3, 4), features={"zstd": True, "shard": [1, {"of": 3}]})
    here, there = established(End(ALICE), newer)
    assert dict(here.hello.features) == {"shard": [1, {"of": 3}], "zstd": True}
    assert here.session.receive(there.session.seal(b"x")) == [b"x"]


def test_downgrade_of_the_responder_is_noticed() -> None:
    lower = End(ALICE, versions=(3, 4)), End(BOB, versions=(3, 4))
    seen = connect(*lower, tamper_second=lambda data: data.replace(b"weave\x03\x04", b"weave\x03\x03"))
    assert isinstance(seen.initiator, HandshakeRefused)
    assert seen.initiator.reason is Reason.TAMPERED
    assert reasons(seen)[1] is Reason.TAMPERED


def test_downgrade_of_the_initiator_is_noticed() -> None:
    lower = End(ALICE, versions=(3, 4)), End(BOB, versions=(3, 4))
    seen = connect(*lower, tamper_first=lambda data: data.replace(b"weave\x03\x04", b"weave\x03\x03"))
    assert reasons(seen) == (Reason.TAMPERED, Reason.TAMPERED)


def test_borrowed_identity_is_refused() -> None:
    mallory = Identity.from_seed(b"m" * 32)
    end = End(mallory)
    handshake = end.handshake(initiator=True)
    stolen = End(BOB).hello()
    handshake._hello = stolen  # what a modified program would say
    responder = End(ALICE).handshake(initiator=False)
    reply = handshake.receive(responder.receive(handshake.start()))
    said, outcome = feed(responder, reply)
    assert isinstance(outcome, HandshakeRefused)
    assert outcome.reason is Reason.IDENTITY_MISMATCH
    assert isinstance(feed(handshake, said)[1], HandshakeRefused)


def test_hello_with_other_versions_than_the_preamble_is_refused() -> None:
    initiator, responder = End(ALICE).handshake(initiator=True), End(BOB).handshake(initiator=False)
    initiator._hello = End(ALICE, versions=(3, 9)).hello()  # what a modified program would say
    _, outcome = feed(responder, initiator.receive(responder.receive(initiator.start())))
    assert isinstance(outcome, HandshakeRefused)
    assert outcome.reason is Reason.MALFORMED


def test_handshake_introduces_its_own_identity_only() -> None:
    with pytest.raises(LocalError):
        Handshake(identity=ALICE, hello=End(BOB).hello(), psks=[bytes(32)], initiator=True, ephemeral=bytes(32))


def test_shell_can_refuse_for_reasons_of_its_own() -> None:
    initiator, responder = End(ALICE).handshake(initiator=True), End(BOB).handshake(initiator=False)
    initiator.start()
    refusal = responder.refuse(Reason.TIMEOUT, "5 s\x1b[31m")
    assert refusal.detail == "5 s?[31m"
    _, outcome = feed(initiator, refusal.reply)
    assert isinstance(outcome, HandshakeRefused)
    assert str(outcome) == "the handshake was not finished in time (says the other end: 5 s?[31m)"


def test_nothing_secret_in_representations() -> None:
    end = End(ALICE).handshake(initiator=True)
    for thing in (end, ALICE, ALICE.static_keys):
        assert ALICE.static_private.hex() not in repr(thing)
        assert repr(ALICE.static_private) not in repr(thing)
