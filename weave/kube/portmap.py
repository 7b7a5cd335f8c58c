"""Ask `portmap`, which is not ours and may be of any age, which versions of CNI it knows.

A runtime uses one version for the whole list, the newest that it speaks itself: what one plugin of the list does not
know must not be offered. The question is VERSION of the specification; a plugin that gives no answer that makes sense,
in time, is one that could not be asked.
"""

import json
import logging
import os
import subprocess
from contextlib import suppress
from pathlib import Path

import trio

from weave.cni.versions import VERSIONS
from weave.kube.resource import mapping, sequence
from weave.logs import fields

log = logging.getLogger("weave.kube")

NAME = "portmap"
QUESTION = b'{"cniVersion":"1.0.0"}'
DEADLINE_S = 10.0
"""It answers in milliseconds, on a node that is busy starting in a second."""
KILLED_DEADLINE_S = 5.0
MAX_ANSWER_BYTES = 64 * 1024


async def known_versions(binaries: Path) -> tuple[str, ...] | None:
    """Return the versions that `portmap` knows: none where it cannot be asked, None where it is not there."""
    program = binaries / NAME
    answer, reason = b"", f"no answer within {DEADLINE_S:g} s"
    try:
        if not await trio.Path(program).exists():
            return None
        with trio.move_on_after(DEADLINE_S):
            answer, reason = await _ask(program), "its answer makes no sense"
    except OSError as exc:
        reason = str(exc)
    versions = read_versions(answer)
    if not versions:
        log.warning("cannot ask a plugin for the versions of CNI that it knows", extra=fields(
            plugin=program, reason=reason))
    return versions


def read_versions(answer: bytes) -> tuple[str, ...]:
    """Return those of the versions in an answer that we know too, the oldest first."""
    try:
        told = sequence(mapping(json.loads(answer)).get("supportedVersions"))
    except (ValueError, RecursionError):
        return ()
    return tuple(version for version in VERSIONS if version in told)


async def _ask(program: Path) -> bytes:
    """Return what the plugin prints, up to a bound; it is ended with the call."""
    environment = {"CNI_COMMAND": "VERSION", "CNI_PATH": str(program.parent), "PATH": os.defpath}
    process = await trio.lowlevel.open_process([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                               stderr=subprocess.DEVNULL, env=environment)
    assert process.stdin is not None
    assert process.stdout is not None
    answer = b""
    try:
        async with process.stdin, process.stdout:
            with suppress(trio.BrokenResourceError):  # one that does not read the question may answer all the same
                await process.stdin.send_all(QUESTION)
            await process.stdin.aclose()
            while len(answer) <= MAX_ANSWER_BYTES and (octets := await process.stdout.receive_some()):
                answer += octets
    finally:
        process.kill()
        with trio.move_on_after(KILLED_DEADLINE_S, shield=True):
            await process.wait()
    return answer
