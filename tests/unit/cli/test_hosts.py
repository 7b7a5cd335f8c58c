"""The hosts file of a container."""

from pathlib import Path

import pytest

from weave.cli.hosts import rewrite_hosts, with_entries
from weave.errors import LocalError

BEFORE = "127.0.0.1\tlocalhost\n172.17.0.2\tweb\n"
AFTER = BEFORE + "# begin weave\n10.32.0.5\tweb.weave.local web\n10.1.1.1\tdb\n# end weave\n"


def test_entries_are_added_in_a_block() -> None:
    assert with_entries(BEFORE, ["10.32.0.5"], ["web.weave.local"], ["db:10.1.1.1"]) == AFTER


def test_block_is_replaced_not_repeated() -> None:
    assert with_entries(AFTER, ["10.32.0.5"], ["web.weave.local"], ["db:10.1.1.1"]) == AFTER
    assert with_entries(AFTER, ["10.32.0.5"], [], []) == BEFORE


@pytest.mark.parametrize("extra", ["db", ":10.1.1.1", "db:here"])
def test_extra_that_makes_no_sense_is_refused(extra: str) -> None:
    with pytest.raises(LocalError):
        with_entries(BEFORE, [], [], [extra])


def test_file_is_rewritten_in_place(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text(BEFORE)
    inode = path.stat().st_ino
    rewrite_hosts(str(path), ["10.32.0.5"], ["web.weave.local"], ["db:10.1.1.1"])
    assert (path.read_text(), path.stat().st_ino) == (AFTER, inode)


def test_file_that_cannot_be_rewritten_says_so(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="attached, but its hosts file"):
        rewrite_hosts(str(tmp_path / "none"), [], [], [])
