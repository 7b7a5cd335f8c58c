"""Which container a word means."""

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from weave.cli import target, target_files
from weave.cli.target import find, identify, is_nameless
from weave.cli.target_files import Target
from weave.errors import LocalError

ME = os.getpid()
ID = "c0ffee" * 10 + "c0ff"


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have one named namespace, and no runtime."""
    (tmp_path / "netns").mkdir()
    (tmp_path / "netns" / "blue").write_text("")
    (tmp_path / "netns" / "odd_name").write_text("")
    (tmp_path / "netns" / "odd.name").write_text("")
    monkeypatch.setattr(target, "NAMED_NAMESPACES", (str(tmp_path / "netns"),))
    monkeypatch.setattr(target, "RUNTIME_SOCKETS", ())
    monkeypatch.setattr(target, "PODMAN_STATE", str(tmp_path / "libpod"))
    monkeypatch.setattr(target_files, "CONTAINERD_TASKS", tmp_path / "tasks")
    monkeypatch.setattr(target_files, "NERDCTL_NAMES", tmp_path / "nerdctl")
    monkeypatch.setattr(target_files, "OCI_STATES", ((tmp_path / "runc", "state.json", "init_process_pid"),
                                                     (tmp_path / "crun", "status", "pid")))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    return tmp_path


def test_names_a_namespace(machine: Path) -> None:
    path = f"{machine}/netns/blue"
    assert find("blue") == find(path) == find(f"{machine}/./netns/blue") == Target("blue", path, "blue")


def test_name_that_is_no_host_name_is_not_registered(machine: Path) -> None:
    assert find("odd_name").fqdn == "odd_name", "the name service takes it"
    assert find("odd.name").fqdn is None
    assert [is_nameless(find(word)) for word in ("blue", "odd_name", "odd.name", f"pid:{ME}")] == [
        False, False, True, False]


@pytest.mark.parametrize("form", ["{}", "pid:{}", "/proc/{}/ns/net"])
def test_names_a_process(form: str) -> None:
    assert find(form.format(ME)) == Target(f"pid:{ME}", f"/proc/{ME}/ns/net")


def test_other_path_becomes_one_word(tmp_path: Path) -> None:
    path = tmp_path / "somewhere"
    path.write_text("")
    assert find(str(path)) == Target(str(path).strip("/").replace("/", "_"), str(path))


@pytest.mark.parametrize("word", ["nothing", "pid:4194305", "/run/netns/gone", "4194305"])
def test_says_what_a_container_is(word: str) -> None:
    with pytest.raises(LocalError, match=r"no container|not running"):
        find(word)


@pytest.mark.parametrize(("word", "ident"), [("gone", "gone"), ("pid:4194305", "pid:4194305"), ("4194305", "4194305")])
def test_identify_takes_what_is_gone(word: str, ident: str) -> None:
    assert identify(word).ident == ident


def test_identify_takes_the_path_of_a_namespace_that_is_gone(machine: Path) -> None:
    assert identify(f"{machine}/netns/gone").ident == "gone"


@contextmanager
def runtime(path: Path, status: int, document: object) -> Iterator[list[bytes]]:
    """Answer one request as Docker does, in chunks."""
    body = json.dumps(document).encode()
    asked: list[bytes] = []

    def work() -> None:
        connection, _ = listener.accept()
        with connection:
            asked.append(connection.recv(4096))
            connection.sendall(b"HTTP/1.1 %d OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
                               % (status, len(body), body))

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(path))
        listener.listen()
        thread = threading.Thread(target=work)
        thread.start()
        yield asked
        thread.join(10)


def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "docker.sock"
    monkeypatch.setattr(target, "RUNTIME_SOCKETS", (str(path),))
    return path


@pytest.mark.parametrize(("config", "fqdn"), [
    ({"Hostname": "web", "Domainname": "weave.local"}, "web.weave.local"),
    ({"Hostname": "web", "Domainname": ""}, "web"),
    ({"Hostname": ID[:12], "Domainname": ""}, None),
    ({}, None),
])
def test_asks_the_runtime(
    config: dict[str, str], fqdn: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = {"Id": ID, "Config": config, "State": {"Pid": ME}, "HostsPath": "/x/hosts"}
    with runtime(docker(tmp_path, monkeypatch), 200, document) as asked:
        assert find("web") == Target(ID, f"/proc/{ME}/ns/net", fqdn, "/x/hosts")
    assert asked[0].startswith(b"GET /containers/web/json HTTP/1.1\r\n")


@pytest.mark.parametrize(("status", "document", "complaint"), [
    (404, {"message": "No such container"}, "there is no container 'web'"),
    (500, {"message": "down"}, "would not say where container web is"),
    (200, {"Id": ID, "Config": {}, "State": {"Pid": 0}}, "web is not running"),
    (200, {"Id": ID}, "in a way not understood"),
    (200, [], "would not say"),
])
def test_runtime_that_cannot_help(
    status: int, document: object, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with runtime(docker(tmp_path, monkeypatch), status, document), pytest.raises(LocalError, match=complaint):
        find("web")


def test_identify_knows_a_stopped_container_by_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = {"Id": ID, "Config": {}, "State": {"Pid": 0}}
    with runtime(docker(tmp_path, monkeypatch), 200, document):
        assert identify("web").ident == ID


@pytest.mark.parametrize(("file", "content"), [
    (f"tasks/k8s.io/{ID}/init.pid", str(ME)),
    (f"runc/{ID}/state.json", json.dumps({"id": ID, "init_process_pid": ME})),
    (f"crun/{ID}/status", json.dumps({"pid": ME})),
], ids=["containerd", "Podman with runc", "Podman with crun"])
def test_runtimes_without_a_socket_are_known_by_their_files(machine: Path, file: str, content: str) -> None:
    (machine / file).parent.mkdir(parents=True)
    (machine / file).write_text(content)
    assert find(ID) == find(ID[:12]) == Target(ID, f"/proc/{ME}/ns/net")
    with pytest.raises(LocalError, match="there is no container"):
        find(ID[:8])


def test_nerdctl_names_its_containers(machine: Path) -> None:
    names = machine / "nerdctl" / "1935db59" / "names" / "default"
    names.mkdir(parents=True)
    (names / "web").write_text(ID)
    task = machine / "tasks" / "default" / ID
    task.mkdir(parents=True)
    (task / "init.pid").write_text(f"{ME}\n")
    assert find("web") == Target(ID, f"/proc/{ME}/ns/net")


def test_half_an_id_that_fits_two_containers_is_refused(machine: Path) -> None:
    for ending in ("a", "b"):
        task = machine / "tasks" / "default" / (ID[:-1] + ending)
        task.mkdir(parents=True)
        (task / "init.pid").write_text(str(ME))
    with pytest.raises(LocalError, match="by the whole id"):
        find(ID[:20])


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"pid": "x"}', '{"pid": -1}'])
def test_damaged_notes_of_a_runtime_are_no_container(machine: Path, content: str) -> None:
    (machine / "crun" / ID).mkdir(parents=True)
    (machine / "crun" / ID / "status").write_text(content)
    with pytest.raises(LocalError, match="there is no container"):
        find(ID)


def test_podman_is_asked_by_its_command_where_it_has_no_socket(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    described = [{"Id": ID, "Config": {"Hostname": "web"}, "State": {"Pid": ME}, "HostsPath": "/etc/hosts"}]
    (machine / "libpod").mkdir()
    podman = machine / "podman"
    podman.write_text(f"#!/bin/sh\n[ \"$3\" = web ] || exit 125\ncat <<'EOF'\n{json.dumps(described)}\nEOF\n")
    podman.chmod(0o755)
    monkeypatch.setenv("PATH", str(machine), prepend=":")
    assert find("web") == Target(ID, f"/proc/{ME}/ns/net", "web", "/etc/hosts")
    with pytest.raises(LocalError, match="there is no container"):
        find("other")
