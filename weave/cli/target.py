"""Which container a word means: a network namespace, a process, or a container of a runtime.

A path names a namespace, `pid:4711` or a number a process, a word a namespace under /run/netns (`ip netns add`) or,
a container's name or id: of Docker or Podman, asked at their sockets, and of containerd, nerdctl and Podman as their
files tell where no socket is. The id under which the router keeps a container is the runtime's full id, the name of
the namespace, or `pid:4711`.
"""

import json
import os
import re
import shutil
import subprocess

from weave.api.client import decode_json, exchange
from weave.api.http1 import encode_request, request_path
from weave.cli.target_files import Target, find_by_files
from weave.errors import LocalError

NAMED_NAMESPACES = ("/run/netns", "/var/run/netns")
RUNTIME_SOCKETS = ("/var/run/docker.sock", "/run/podman/podman.sock")
PODMAN_STATE = "/run/libpod"
"""There while Podman has been used since the machine started."""
RUNTIME_TIMEOUT_S = 10.0
_PROCESS = re.compile(r"/proc/(\d+)/ns/net")
_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
"""One label, as the name service takes it: what has a dot would be a name in another domain than ours."""


def identify(word: str) -> Target:
    """Return what the word means, whether it lives or not; for commands that only need its id."""
    return _look(word) or Target(word, None)


def find(word: str) -> Target:
    """Return the living container that the word means; raise `LocalError` where there is none."""
    found = _look(word)
    if found is None:
        raise LocalError(f"there is no container {word!r}: name a network namespace (its path, or as in `ip netns`), "
                         "pid:4711, or a running container of Docker, Podman, nerdctl or containerd")
    if found.netns is None or not os.path.exists(found.netns):
        raise LocalError(f"{word} is not running: it has no network namespace{_at(found.netns)}; start it first")
    return found


def _at(netns: str | None) -> str:
    return f" at {netns}" if netns else ""


def is_nameless(target: Target) -> bool:
    """Say whether this is a namespace of `ip netns` whose name cannot be registered."""
    return target.fqdn is None and target.netns is not None and os.path.dirname(target.netns) in NAMED_NAMESPACES


def _look(word: str) -> Target | None:
    if not word:
        raise LocalError("the name of the container is empty")
    process = word.removeprefix("pid:")
    if "/" in word:
        return _by_path(os.path.normpath(word))
    if process.isdecimal() and (word.startswith("pid:") or os.path.exists(f"/proc/{process}")):
        return _by_path(f"/proc/{process}/ns/net")
    for directory in NAMED_NAMESPACES:
        if os.path.exists(f"{directory}/{word}"):
            return _by_path(f"{directory}/{word}")
    for socket_path in _runtime_sockets():
        found = _inspect(socket_path, word)
        if found is not None:
            return found
    return find_by_files(word) or _ask_podman(word)


def _by_path(path: str) -> Target:
    if match := _PROCESS.fullmatch(path):
        return Target(f"pid:{match[1]}", path)
    directory, _, name = path.rpartition("/")
    if directory in NAMED_NAMESPACES:
        return Target(name, path, name if _HOST_NAME.fullmatch(name) else None)
    return Target(path.strip("/").replace("/", "_"), path)


def _runtime_sockets() -> list[str]:
    given = os.environ.get("DOCKER_HOST", "")
    first = [given.removeprefix("unix://")] if given.startswith("unix://") else []
    return [path for path in dict.fromkeys([*first, *RUNTIME_SOCKETS]) if os.path.exists(path)]


def _inspect(socket_path: str, word: str) -> Target | None:
    """Ask a runtime of the Docker family for a container; None where it does not know it."""
    request = encode_request("GET", request_path("containers", word, "json"), accept="application/json",
                             content_type=None, body=b"")
    answer = exchange(socket_path, request, RUNTIME_TIMEOUT_S)
    if answer.status == 404:
        return None
    container = decode_json(answer)
    if answer.status != 200 or not isinstance(container, dict):
        raise LocalError(f"{socket_path} would not say where container {word} is: {answer.text.strip()[:200]}")
    try:
        return _from_runtime(container)
    except (KeyError, TypeError) as exc:
        raise LocalError(f"{socket_path} describes container {word} in a way not understood: no {exc}") from exc


def _ask_podman(word: str) -> Target | None:
    """Ask Podman itself, which mostly runs without a socket, for a container by its name."""
    if word.startswith("-") or shutil.which("podman") is None or not os.path.isdir(PODMAN_STATE):
        return None
    try:
        done = subprocess.run(["podman", "container", "inspect", word], capture_output=True, text=True, check=False,
                              timeout=RUNTIME_TIMEOUT_S)
        described = json.loads(done.stdout) if done.returncode == 0 else []
        return _from_runtime(described[0]) if described else None
    except (subprocess.TimeoutExpired, ValueError, KeyError, TypeError, IndexError) as exc:
        raise LocalError(f"podman would not say where container {word} is: {exc!r}") from exc


def _from_runtime(container: dict[str, dict[str, object]]) -> Target:
    ident, config, process = str(container["Id"]), container["Config"], container["State"]["Pid"]
    host_name, domain = str(config.get("Hostname") or ""), str(config.get("Domainname") or "")
    is_own_name = bool(host_name) and (bool(domain) or not ident.startswith(host_name))
    fqdn = f"{host_name}.{domain}".strip(".") if is_own_name else None
    netns = f"/proc/{process}/ns/net" if process else None
    return Target(ident, netns, fqdn, str(container.get("HostsPath") or "") or None)
