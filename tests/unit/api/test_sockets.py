"""Unix sockets: who may connect, and whose file is replaced."""

import os
import socket
import stat
from pathlib import Path

import pytest

from weave.api.sockets import identity, listen_unix, remove_unix
from weave.errors import EnvironmentFailure, LocalError


def test_mode_does_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with listen_unix(tmp_path / "run" / "weave.sock") as listener:
            assert stat.S_IMODE((tmp_path / "run" / "weave.sock").stat().st_mode) == 0o600
            assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    finally:
        os.umask(before)


def test_dead_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    listen_unix(path).close()
    with listen_unix(path), socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(path))


def test_live_socket_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with listen_unix(path):
        with pytest.raises(LocalError, match=f"answers at {path} already"):
            listen_unix(path)
        assert path.exists()


def test_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(LocalError, match="no socket"):
        listen_unix(path)
    assert path.read_text() == "precious"


@pytest.mark.parametrize("length", [100, 107, 200])
def test_path_too_long_is_refused_in_words(tmp_path: Path, length: int) -> None:
    with pytest.raises(LocalError, match="too long"):
        listen_unix(tmp_path / ("x" * length) / "s")


def test_directory_that_cannot_be_is_an_environment_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFailure, match="cannot listen"):
        listen_unix(tmp_path / "file" / "s")


def test_remove_leaves_the_socket_of_a_successor(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with listen_unix(path):
        ours = identity(path)
    with listen_unix(path):
        remove_unix(path, ours)
        assert path.exists()
    remove_unix(path, identity(path))
    assert not path.exists()
