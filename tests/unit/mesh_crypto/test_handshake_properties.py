"""Properties: whatever arrives, in whatever pieces, a handshake connects, waits, or says why not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from weave.errors import RemoteError
from weave.mesh.handshake import Established, Hello, Reason
from weave.mesh.hello import MAX_HELLO_BYTES
from weave.wire import Plain, WireError, pack

from .pairs import ALICE, BOB, End, connect, feed, reasons

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.text(max_size=5) | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
RANGES = st.tuples(st.integers(1, 9), st.integers(1, 9)).map(lambda pair: (min(pair), max(pair)))


@given(st.booleans(), st.binary(max_size=200), st.integers(1, 9))
@settings(deadline=None)
def test_junk_is_refused_or_waited_out(initiator: bool, junk: bytes, size: int) -> None:
    handshake = End(ALICE).handshake(initiator=initiator)
    handshake.start()
    _, outcome = feed(handshake, b"weave\3\3\1" + junk, size)
    assert not isinstance(outcome, Established)


@given(RANGES, RANGES)
@settings(deadline=None)
def test_ranges_that_meet_connect_and_others_say_so(one: tuple[int, int], other: tuple[int, int]) -> None:
    seen = connect(End(ALICE, versions=one), End(BOB, versions=other))
    common = set(range(one[0], one[1] + 1)) & set(range(other[0], other[1] + 1))
    if not common:
        assert reasons(seen) == (Reason.VERSION_MISMATCH, Reason.VERSION_MISMATCH)
        return
    assert isinstance(seen.initiator, Established)
    assert isinstance(seen.responder, Established)
    assert seen.initiator.protocol == seen.responder.protocol == max(common)


@given(
    st.lists(st.sampled_from(["", "a", "b", "c"]), min_size=1, max_size=3, unique=True),
    st.lists(st.sampled_from(["", "a", "b", "c"]), min_size=1, max_size=3, unique=True),
)
@settings(deadline=None)
def test_ends_connect_exactly_where_the_dialled_password_is_accepted(dials: list[str], accepts: list[str]) -> None:
    seen = connect(End(ALICE, words=tuple(dials)), End(BOB, words=tuple(accepts)))
    here, there = reasons(seen)
    assert isinstance(seen.responder, Established) == isinstance(seen.initiator, Established) == (dials[0] in accepts)
    assert here is (there.mirrored if there else None)


@given(st.dictionaries(st.text(max_size=9), PLAIN, max_size=4), st.text(max_size=20).filter(str.isprintable))
@settings(deadline=None, max_examples=40)
def test_hello_survives_the_wire(features: dict[str, object], nickname: str) -> None:
    fields = ("identity", "nickname", "uid", "protocol_min", "protocol_max", "control_port", "trusts_remote")
    kept = {key: value for key, value in features.items() if key not in fields}
    hello = Hello(BOB.public, nickname, 7, 3, 4, 6783, True, kept)  # type: ignore[arg-type]
    assert Hello.decode(hello.encode()) == hello


@given(st.binary(max_size=300) | PLAIN.map(pack))
@settings(deadline=None)
def test_hello_of_a_stranger_raises_one_type(data: bytes) -> None:
    try:
        Hello.decode(data)
    except RemoteError:
        return
    raise AssertionError("a hello without an identity was taken")


@pytest.mark.parametrize("feature", [bytes(MAX_HELLO_BYTES), [0] * 65], ids=["bytes", "items"])
def test_oversized_hello_is_refused_before_it_is_decoded(feature: Plain) -> None:
    with pytest.raises(WireError, match=r"limit|exceeds"):
        Hello.decode(pack({"feature": feature}))
