import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave.errors import LocalError, RemoteError
from weave.names import parse_peer_name, peer_name_from_bytes, peer_name_to_bytes


@given(st.binary(min_size=6, max_size=6))
def test_names_survive_bytes_and_text(raw: bytes) -> None:
    name = peer_name_from_bytes(raw)
    assert peer_name_to_bytes(name) == raw
    assert parse_peer_name(f" {name.upper()}\n") == name


@given(st.binary(min_size=6, max_size=6), st.binary(min_size=6, max_size=6))
def test_names_sort_like_their_bytes(one: bytes, other: bytes) -> None:
    assert (peer_name_from_bytes(one) < peer_name_from_bytes(other)) == (one < other)


@pytest.mark.parametrize("raw", [b"", b"12345", b"1234567"])
def test_wrong_length_is_the_senders_fault(raw: bytes) -> None:
    with pytest.raises(RemoteError, match=str(len(raw))):
        peer_name_from_bytes(raw)


@pytest.mark.parametrize(
    "text",
    ["", "h1", "7a:9f:eb:b6:0c", "7a:9f:eb:b6:0c:6e:00", "7a-9f-eb-b6-0c-6e", "7a9febb60c6e", "7g:9f:eb:b6:0c:6e"],
)
def test_what_is_no_name_is_told_with_an_example(text: str) -> None:
    with pytest.raises(LocalError, match="7a:9f:eb:b6:0c:6e"):
        parse_peer_name(text)
