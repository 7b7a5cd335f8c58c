"""Containers of runtimes that are not asked but left their notes on this host.

    containerd   /run/containerd/io.containerd.runtime.v2.task/NAMESPACE/ID/init.pid
    nerdctl      /var/lib/nerdctl/ADDRESS/names/NAMESPACE/NAME holds the id, the rest is containerd's
    Podman       /run/runc/ID/state.json or /run/crun/ID/status, by the OCI runtime that it uses

An id may be shortened to its first twelve characters or more, as these runtimes show it.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from weave.errors import LocalError

CONTAINERD_TASKS = Path("/run/containerd/io.containerd.runtime.v2.task")
NERDCTL_NAMES = Path("/var/lib/nerdctl")
OCI_STATES = ((Path("/run/runc"), "state.json", "init_process_pid"), (Path("/run/crun"), "status", "pid"))
LEAST_OF_AN_ID = 12
MAX_FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Target:
    """A container as the command line knows it."""

    ident: str
    netns: str | None
    """Path of its network namespace; None where it is gone or not known."""
    fqdn: str | None = None
    """What it calls itself; maybe without a domain."""
    hosts_file: str | None = None
    """Its /etc/hosts, as a path of this host; containers of a runtime alone have one."""


def find_by_files(word: str) -> Target | None:
    """Return the container with this name or id, None where no runtime has noted one."""
    if not word.replace("-", "").replace("_", "").replace(".", "").isalnum():
        return None
    ident = _nerdctl_id(word) or word
    found = dict((*_containerd(ident), *_oci(ident)))
    if len(found) > 1:
        raise LocalError(f"{word} may be {' or '.join(sorted(found))}; say which by the whole id")
    for target, process in found.items():
        return Target(target, f"/proc/{process}/ns/net")
    return None


def _nerdctl_id(name: str) -> str | None:
    for path in sorted(NERDCTL_NAMES.glob(f"*/names/*/{name}")):
        return _read(path).strip() or None
    return None


def _containerd(ident: str) -> Iterator[tuple[str, int]]:
    for directory in _named(CONTAINERD_TASKS, "*/", ident):
        process = _read(directory / "init.pid").strip()
        if process.isdecimal():
            yield directory.name, int(process)


def _oci(ident: str) -> Iterator[tuple[str, int]]:
    for place, file, key in OCI_STATES:
        for directory in _named(place, "", ident):
            try:
                process = json.loads(_read(directory / file)).get(key)
            except (ValueError, RecursionError, AttributeError):
                continue
            if isinstance(process, int) and process > 0:
                yield directory.name, process


def _named(place: Path, above: str, ident: str) -> list[Path]:
    """Return the directories of a container, known by its id or the beginning of it."""
    pattern = f"{above}{ident}*" if len(ident) >= LEAST_OF_AN_ID else f"{above}{ident}"
    return sorted(path for path in place.glob(pattern) if path.is_dir())


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
