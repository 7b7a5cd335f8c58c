"""Both executables, the script and the C program, where no router answers, or one that makes no sense."""

import json
import os
import re
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conformance.cni.plugins import SHIM, install_program
from weave.cni.request import decode_request
from weave.cni.versions import VERSIONS
from weave.router.spool import DIRECTORY, file_name

CONF = b'{ "cniVersion" : "0.4.0", "name": "pods", "type": "weave-net" }'
CALLED = {"CNI_CONTAINERID": "c0ffee", "CNI_NETNS": "/run/netns/a", "CNI_IFNAME": "eth0", "CNI_PATH": "/opt/cni/bin"}


@pytest.fixture(scope="module", params=["script", "C"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "script":
        return SHIM
    made: Path = tmp_path_factory.mktemp("bin") / "weave-net"
    install_program(made)
    return made


def run(program: Path, place: Path, verb: str | None, stdin: bytes = CONF,
        **changes: str | None) -> subprocess.CompletedProcess[bytes]:
    given = {"CNI_COMMAND": verb, "WEAVE_SOCKET": str(place / "weave.sock"), "NOT_FOR_US": "secret", **CALLED,
             **changes}
    return subprocess.run([program], env={name: value for name, value in given.items() if value is not None},
                          input=stdin, capture_output=True, check=False, timeout=30)


def error(done: subprocess.CompletedProcess[bytes]) -> dict[str, object]:
    assert done.returncode == 1
    told: dict[str, object] = json.loads(done.stdout)
    assert told["msg"]
    return told


def is_whole(data: bytes) -> bool:
    head = re.search(rb"Content-Length: ([0-9]+)\r\n\r\n", data)
    return head is not None and len(data) >= head.end() + int(head[1])


@contextmanager
def answering(place: Path, answer: bytes) -> Iterator[list[bytes]]:
    """Have something listen that answers one request with these octets and hangs up."""
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place / "weave.sock"))
        listener.listen()
        listener.settimeout(20)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(20)
                data = b""
                while not is_whole(data) and (piece := connection.recv(1 << 16)):
                    data += piece
                asked.append(data)
                connection.sendall(answer)

        server = threading.Thread(target=serve)
        server.start()
        yield asked
        server.join()


def test_version_needs_no_router(program: Path, tmp_path: Path) -> None:
    done = run(program, tmp_path, "VERSION")
    assert (done.returncode, json.loads(done.stdout)) == (
        0, {"cniVersion": "0.4.0", "supportedVersions": list(VERSIONS)})
    assert json.loads(run(program, tmp_path, "VERSION", b"").stdout)["cniVersion"] == "1.1.0"


@pytest.mark.parametrize(("verb", "code"), [("ADD", 11), ("CHECK", 11), ("GC", 11), ("STATUS", 50), (None, 11)])
def test_without_a_router_everything_but_deletion_is_to_be_tried_again(
        program: Path, tmp_path: Path, verb: str | None, code: int) -> None:
    told = error(run(program, tmp_path, verb))
    assert (told["code"], told["cniVersion"]) == (code, "0.4.0")
    assert "weave launch" in str(told["msg"])


def test_a_deletion_is_kept_once_for_a_container_and_interface(program: Path, tmp_path: Path) -> None:
    for _ in range(2):
        done = run(program, tmp_path, "DEL", CNI_NETNS=None)
        assert (done.returncode, done.stdout) == (0, b"")
    run(program, tmp_path, "DEL", CNI_IFNAME="eth1")
    spool = tmp_path / DIRECTORY
    assert spool.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in spool.iterdir()} == {
        file_name("weave-net", "c0ffee", name) for name in ("eth0", "eth1")}
    kept = spool / file_name("weave-net", "c0ffee", "eth0")
    assert kept.stat().st_mode & 0o777 == 0o600
    request = decode_request(kept.read_bytes())
    assert request.stdin == CONF
    assert request.environment == {"CNI_COMMAND": "DEL", **{k: v for k, v in CALLED.items() if k != "CNI_NETNS"}}


def test_a_deletion_of_nothing_is_refused(program: Path, tmp_path: Path) -> None:
    assert error(run(program, tmp_path, "DEL", CNI_CONTAINERID=None))["code"] == 4
    assert error(run(program, tmp_path, "DEL", CNI_IFNAME=""))["code"] == 4


def test_what_is_kept_is_bounded(program: Path, tmp_path: Path) -> None:
    (tmp_path / DIRECTORY).mkdir()
    for number in range(4097):
        (tmp_path / DIRECTORY / str(number)).touch()
    assert error(run(program, tmp_path, "DEL"))["code"] == 11


def test_a_link_is_not_followed_out_of_the_spool(program: Path, tmp_path: Path) -> None:
    done = run(program, tmp_path, "DEL")
    assert done.returncode == 0
    kept = tmp_path / DIRECTORY / file_name("weave-net", "c0ffee", "eth0")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    kept.unlink()
    kept.symlink_to(elsewhere)
    assert run(program, tmp_path, "DEL").returncode == 0
    assert not kept.is_symlink()
    assert elsewhere.read_text() == "precious"


def test_the_answer_is_passed_on_and_only_what_is_ours_is_told(program: Path, tmp_path: Path) -> None:
    content = b'7\n{"some": "thing"}\n'
    answer = b"HTTP/1.1 200 \r\nX: y\r\ncontent-length: %d\r\n\r\n" % len(content) + content
    with answering(tmp_path, answer) as asked:
        done = run(program, tmp_path, "ADD")
    assert (done.returncode, done.stdout) == (7, b'{"some": "thing"}\n')
    head, _, body = asked[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /cni/weave-net HTTP/1.0\r\n")
    assert decode_request(body).environment == {"CNI_COMMAND": "ADD", **CALLED}


def test_the_plugin_is_the_one_it_is_called_by(program: Path, tmp_path: Path) -> None:
    alias = tmp_path / "weave-ipam"
    alias.symlink_to(program)
    assert run(alias, tmp_path, "DEL").returncode == 0
    assert [path.name for path in (tmp_path / DIRECTORY).iterdir()] == [file_name("weave-ipam", "c0ffee", "eth0")]


@pytest.mark.parametrize("answer", [
    b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\n0\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n0\n{}", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nx\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"HTTP/1.1 200 OK\r\n\r\n0\n{}", b"\0" * 3000,
])
def test_an_answer_that_makes_no_sense_is_no_success(program: Path, tmp_path: Path, answer: bytes) -> None:
    with answering(tmp_path, answer):
        assert error(run(program, tmp_path, "ADD"))["code"] == 11


def test_too_much_input_is_refused(program: Path, tmp_path: Path) -> None:
    assert error(run(program, tmp_path, "ADD", b" " * 70_000))["code"] == 5


@pytest.mark.parametrize("stdin", [b"", b"\0", b'"cniVersion"', b'{"cniVersion":1}', b'{"cniVersion":"', b"\xff" * 9,
                                   b'{"cniVersion":"' + b"1" * 99 + b'"}', b'{"cniVersion":"1.0\\"}'])
def test_nonsense_as_configuration_leaves_sound_json(program: Path, tmp_path: Path, stdin: bytes) -> None:
    assert error(run(program, tmp_path, "ADD", stdin))["cniVersion"] == "0.1.0"


def test_the_script_is_executable_and_needs_no_package() -> None:
    assert os.access(SHIM, os.X_OK)
    imports = [line for line in SHIM.read_text().splitlines() if line.startswith(("import", "from"))]
    assert [line.split()[1] for line in imports] == ["posix", "sys", "_signal", "_socket"]
