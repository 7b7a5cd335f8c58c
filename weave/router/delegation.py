"""Run another CNI plugin, as a runtime would: the IPAM plugin that a configuration names instead of ours.

It is looked for in `CNI_PATH`, gets our environment and configuration as they came, and is bounded in time and in what
it may print. The router must see the host's plugin directories under the same names.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from subprocess import CompletedProcess

import trio

from weave.cni.errors import CniError, Code
from weave.cni.reading import Fields, decode
from weave.cni.request import Call, Verb
from weave.cni.result import Result, read_result
from weave.logs import fields

log = logging.getLogger("weave.cni")

DEADLINE_S = 20.0
"""A plugin that asks a DHCP server needs some seconds."""
MAX_OUTPUT_BYTES = 64 * 1024
MAX_LOGGED_CHARACTERS = 400


async def delegate(call: Call, verb: Verb, plugin: str) -> Result:
    """Run a plugin and return its result, empty for verbs without one; raise `CniError` with its own error."""
    program = _find(plugin, call.path)
    environment = {**call.request.environment, "CNI_COMMAND": verb.value, "PATH": os.environ.get("PATH", "")}
    done = await _run(program, environment, call.request.stdin)
    if done.stderr:
        log.info("a plugin says", extra=fields(
            plugin=plugin, words=done.stderr[:MAX_LOGGED_CHARACTERS].decode(errors="replace").strip()))
    if done.returncode:
        raise _error_of(plugin, done)
    if verb is not Verb.ADD:
        return Result()
    return read_result(_decoded(plugin, done.stdout))


def _find(plugin: str, path: Sequence[str]) -> Path:
    for directory in path:
        program = Path(directory) / plugin
        if program.is_file() and os.access(program, os.X_OK):
            return program
    raise CniError(Code.DELEGATE, f"the plugin {plugin} is not in {':'.join(path)}; install it, and let the router see "
                   "that directory")


async def _run(program: Path, environment: dict[str, str], stdin: bytes) -> CompletedProcess[bytes]:
    try:
        with trio.fail_after(DEADLINE_S):
            return await trio.run_process([program], stdin=stdin, env=environment, capture_stdout=True,
                                          capture_stderr=True, check=False)
    except trio.TooSlowError as exc:
        raise CniError(Code.TRY_AGAIN, f"the plugin {program.name} did not end within {DEADLINE_S:g} s") from exc
    except OSError as exc:
        raise CniError(Code.DELEGATE, f"the plugin {program} cannot be run: {exc.strerror}") from exc


def _error_of(plugin: str, done: CompletedProcess[bytes]) -> CniError:
    try:
        said = _decoded(plugin, done.stdout)
        code = said.number("code", 1 << 31) or Code.DELEGATE
        return CniError(code, f"{plugin}: {said.text('msg') or 'no reason given'}", said.text("details"))
    except CniError:
        words = (done.stdout or done.stderr)[:MAX_LOGGED_CHARACTERS].decode(errors="replace").strip()
        return CniError(Code.DELEGATE, f"{plugin} ended with status {done.returncode}: {words or 'no reason given'}")


def _decoded(plugin: str, stdout: bytes) -> Fields:
    if len(stdout) > MAX_OUTPUT_BYTES:
        raise CniError(Code.DELEGATE, f"{plugin} printed {len(stdout)} octets, more than anyone needs")
    try:
        return decode(stdout)
    except CniError as exc:
        raise CniError(Code.DELEGATE, f"{plugin} printed something that is no JSON object") from exc
