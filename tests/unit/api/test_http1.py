"""The client's half of HTTP/1.1."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave.api.http1 import MAX_HEAD, Answer, ResponseReader, encode_request, request_path
from weave.errors import RemoteError

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH
TO_THE_END = b"HTTP/1.0 200 OK\r\n\r\nhello"
EMPTY = b"HTTP/1.1 204 \r\nDate: now\r\n\r\n"


def read(octets: bytes, step: int) -> Answer | None:
    """Feed octets by steps, then the end."""
    reader = ResponseReader()
    for at in range(0, len(octets), step):
        answer = reader.feed(octets[at : at + step])
        if answer is not None:
            return answer
    return reader.feed(b"")


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
@pytest.mark.parametrize(("octets", "body"), [
    (LENGTH, b"hello"), (CHUNKED, b"hello"), (INTERIM, b"hello"), (TO_THE_END, b"hello"), (EMPTY, b""),
])
def test_reads_a_response_however_it_comes(octets: bytes, body: bytes, step: int) -> None:
    answer = read(octets, step)
    assert answer is not None
    assert answer.body == body


@pytest.mark.parametrize("octets", [LENGTH, CHUNKED, INTERIM, EMPTY])
def test_refuses_a_response_cut_anywhere(octets: bytes) -> None:
    whole = len(octets) - (4 if octets is CHUNKED else 0)
    for end in range(whole - 1):
        with pytest.raises(RemoteError):
            read(octets[:end], 1000)


@pytest.mark.parametrize("octets", [
    b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n", b"HTTP/1.1 OK\r\n\r\n", b"HTTP/1.1 002 x\r\n\r\n",
    b"HTTP/2 200\r\n\r\n",
    b"HTTP/1.1 \xb2\xb2\xb2 x\r\n\r\n", b"x" * (MAX_HEAD + 1),
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 2000,
])
def test_refuses_what_is_no_response(octets: bytes) -> None:
    with pytest.raises(RemoteError):
        read(octets, 100_000)


@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_octets_are_a_response_or_refused(octets: bytes, step: int) -> None:
    with suppress(RemoteError):
        read(b"HTTP/1.1 200 OK\r\n" + octets, step)


def test_request_path_escapes_words() -> None:
    assert request_path("ip", "a/b c", "fd00::1", query={"x": ["1", "2"], "y": "ü"}) == (
        "/ip/a%2Fb%20c/fd00::1?x=1&x=2&y=%C3%BC")


def test_encode_request() -> None:
    assert encode_request("PUT", "/x", accept="a/b", content_type="c/d", body=b"hi") == (
        b"PUT /x HTTP/1.1\r\nHost: weave\r\nAccept: a/b\r\nConnection: close\r\nContent-Type: c/d\r\n"
        b"Content-Length: 2\r\n\r\nhi")
    assert b"Content-Length: 0" in encode_request("POST", "/x", accept="a/b", content_type=None, body=b"")
