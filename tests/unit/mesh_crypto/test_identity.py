"""Identities: stable, bound together, and of use for one purpose at a time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave.errors import LocalError, RemoteError
from weave.mesh.identity import PUBLIC_IDENTITY_BYTES, Identity, IdentityError, PublicIdentity
from weave.mesh.password import OPEN_PSK, stretch

from .pairs import ALICE, BOB


def test_same_seed_is_the_same_peer_for_ever() -> None:
    again = Identity.from_seed(b"a" * 32)
    assert again.public == ALICE.public
    assert again.name == "72:79:9e:1e:1c:91", "the derivation must never change: names would"
    assert ALICE.name != BOB.name


def test_seed_of_another_length_is_refused() -> None:
    with pytest.raises(LocalError):
        Identity.from_seed(b"short")


@given(st.binary(min_size=32, max_size=32))
def test_name_is_a_local_unicast_address(key: bytes) -> None:
    first = int(PublicIdentity(key, key, b"").name[:2], 16)
    assert first & 0b11 == 0b10


def test_public_half_survives_the_wire() -> None:
    raw = ALICE.public.encode()
    assert len(raw) == PUBLIC_IDENTITY_BYTES
    assert PublicIdentity.decode(raw) == ALICE.public


def test_altered_identity_is_refused() -> None:
    raw = ALICE.public.encode()
    for offset in range(0, len(raw), 9):
        altered = bytearray(raw)
        altered[offset] ^= 0x10
        with pytest.raises(IdentityError):
            PublicIdentity.decode(bytes(altered))


def test_static_key_of_another_is_refused() -> None:
    mixed = ALICE.public.signing_key + BOB.public.static_key + BOB.public.binding
    with pytest.raises(RemoteError):
        PublicIdentity.decode(mixed)


PRIME = 2**255 - 19
OF_ORDER_EIGHT = (0x00b8495f16056286fdb1329ceb8d09da6ac49ff1fae35616aeb8413b7c7aebe0,
                  0x57119fd0dd4e22d8868e1c58c45c44045bef839c55b1d0b1248c50a3bc959c5f)


@pytest.mark.parametrize("high_bit", [0, 1 << 255], ids=hex)
@pytest.mark.parametrize("point", [0, 1, *OF_ORDER_EIGHT, PRIME - 1, PRIME, PRIME + 1], ids=hex)
def test_static_key_that_gives_no_handshake_is_refused(point: int, high_bit: int) -> None:
    static_key = (point | high_bit).to_bytes(32, "little")
    binding = ALICE.sign(static_key, b"weave 3 static key")
    with pytest.raises(IdentityError, match="low order"):
        PublicIdentity.decode(ALICE.public.signing_key + static_key + binding)


@pytest.mark.parametrize("size", [0, 127, 129])
def test_identity_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(IdentityError):
        PublicIdentity.decode(bytes(size))


def test_signature_holds_for_signer_data_and_context() -> None:
    signature = ALICE.sign(b"data")
    assert ALICE.public.verify(signature, b"data")
    assert not ALICE.public.verify(signature, b"Data")
    assert not ALICE.public.verify(signature, b"data", b"another purpose")
    assert not BOB.public.verify(signature, b"data")
    assert not ALICE.public.verify(b"", b"data")


def test_binding_is_no_signature_of_a_record() -> None:
    assert not ALICE.public.verify(ALICE.public.binding, ALICE.public.static_key)


def test_signature_under_a_key_that_is_none_is_false() -> None:
    assert not PublicIdentity(b"\xff" * 32, bytes(32), b"").verify(bytes(64), b"data")


def test_password_gives_a_fixed_key() -> None:
    expected = "ef871133d42da0888f93d8920bcdeb792359855cf3655c88f1fcb64ec373db82"
    assert stretch("correct horse").hex() == expected, "changing the parameters splits every running mesh"


def test_accents_typed_differently_are_the_same_password() -> None:
    assert stretch("caf\u00e9") == stretch("cafe\u0301") != OPEN_PSK


@pytest.mark.parametrize("password", ["", "x" * 1025])
def test_useless_password_is_refused(password: str) -> None:
    with pytest.raises(LocalError):
        stretch(password)
