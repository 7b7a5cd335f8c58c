import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave.errors import RemoteError
from weave.kube.lines import LineSplitter


@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line and line.strip()), max_size=8), st.data())
def test_lines_come_whole_however_the_octets_come(lines, data):
    octets = b"".join(line + b"\n" for line in lines)
    splitter, found, at = LineSplitter(64), [], 0
    while at < len(octets):
        step = data.draw(st.integers(1, len(octets) - at))
        found += splitter.feed(octets[at : at + step])
        at += step
    assert found == lines


@pytest.mark.parametrize("pieces", [[b"x" * 9], [b"x" * 5, b"x" * 5], [b"x" * 9 + b"\n"], [b"a\n" + b"x" * 9]])
def test_line_beyond_the_limit_is_refused(pieces):
    splitter = LineSplitter(8)
    with pytest.raises(RemoteError):
        [splitter.feed(piece) for piece in pieces]


def test_line_of_exactly_the_limit_passes():
    assert LineSplitter(8).feed(b"x" * 8 + b"\n") == [b"x" * 8]
