"""What one owner may make everybody hold is bounded in octets too."""

import pytest

from tests.unit.mesh.fixtures import entry, name
from weave.errors import LocalError
from weave.mesh import limits
from weave.mesh.author import Author
from weave.mesh.channel import Channel


@pytest.fixture(autouse=True)
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BYTES_PER_OWNER", 2000)


def filled() -> Channel:
    channel = Channel("dns")
    for number in range(3):
        assert channel.put(entry(1, b"%d" % number, number + 1, b"x" * 500)).is_new
    return channel


def test_owner_whose_entries_are_too_long_is_refused_the_next() -> None:
    channel = filled()
    assert channel.put(entry(1, b"more", 9, b"x" * 500)).refused == "too many entries"
    assert channel.put(entry(1, b"0", 9, b"x" * 1500)).refused == "too many entries"
    assert channel.put(entry(2, b"more", 9, b"x" * 500)).is_new, "another owner has its own room"


def test_what_is_withdrawn_makes_room() -> None:
    channel = filled()
    assert channel.put(entry(1, b"0", 9, None)).is_new
    assert channel.put(entry(1, b"more", 10, b"x" * 400)).is_new
    held = channel.held(name(1))
    assert held is not None
    assert held.size == sum(each.size for each in held.entries.values())


def test_we_do_not_write_what_nobody_would_hold() -> None:
    channel = Channel("dns")
    author = Author(name(1), channel, Signed(), 1)
    for number in range(3):
        author.write(b"%d" % number, b"x" * 500)
    with pytest.raises(LocalError):
        author.write(b"more", b"x" * 500)
    assert author.write(b"0", None).entries, "withdrawing is always possible"


class Signed:
    def sign(self, data: bytes) -> bytes:
        return bytes(64)
