"""What was to be deleted while the router was down: requests left in a directory beside the socket.

One file for each plugin, container and interface, named by a digest of the two, so that a runtime that tries again and
again fills nothing. They are worked off before the API opens, and looked for now and then: an executable also leaves a
request when the router does not answer in time.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

import trio

from weave.cni.request import MAX_CONTAINER_CHARACTERS, Verb, decode_request
from weave.errors import LocalError
from weave.logs import fields
from weave.router.cni import CniServer

log = logging.getLogger("weave.cni")

DIRECTORY = "cni-spool"
SUFFIX = ".del"
MAX_REQUESTS = 4096
MAX_REQUEST_BYTES = 64 * 1024
LOOK_INTERVAL_S = 30.0
_OFFSET, _PRIME, _MASK = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1


def file_name(plugin: str, container: str, interface: str) -> str:
    """Return the name of the file, as the executables make it (FNV-1a of 64 bits over container, zero, interface)."""
    digest = _OFFSET
    for octet in f"{container}\0{interface}".encode():
        digest = (digest ^ octet) * _PRIME & _MASK
    return f"{plugin}-{digest:016x}{SUFFIX}"


class Spool:
    """Own the directory of requests that wait."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def forget(self, plugin: str, container: str, interface: str) -> None:
        """Drop a request that a new ADD has made pointless."""
        assert len(container) <= MAX_CONTAINER_CHARACTERS, "calls are checked"
        (self._directory / file_name(plugin, container, interface)).unlink(missing_ok=True)

    async def work_off(self, server: CniServer) -> None:
        """Do what waits; a request that fails stays for the next time."""
        for path, plugin in list(self._waiting()):
            body = _read(path)
            status, said = await server.answer(plugin, body) if body is not None else (0, "")
            if status == 0:
                path.unlink(missing_ok=True)
                log.info("a deletion that waited is done", extra=fields(file=path.name))
            else:
                log.warning("a deletion that waited failed; trying again later",
                            extra=fields(file=path.name, said=said))

    async def run(self, server: CniServer, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Do what waits, now and then, until cancelled."""
        await self.work_off(server)
        task_status.started()
        while True:
            await trio.sleep(LOOK_INTERVAL_S)
            await self.work_off(server)

    def _waiting(self) -> Iterator[tuple[Path, str]]:
        try:
            found = sorted(self._directory.glob(f"*{SUFFIX}"))
        except OSError:
            return
        for path in found[:MAX_REQUESTS]:
            yield path, path.name.removesuffix(SUFFIX).rpartition("-")[0]


def _read(path: Path) -> bytes | None:
    """Return the request in a file; None where it is none of ours, or too large, and may go."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_REQUEST_BYTES:
            return None
        body = path.read_bytes()
        return body if decode_request(body).environment.get("CNI_COMMAND") == Verb.DEL.value else None
    except (OSError, LocalError):
        return None
