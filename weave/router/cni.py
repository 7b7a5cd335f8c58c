"""What container runtimes ask: the plugins `weave-net` and `weave-ipam`, as the executables pass it on.

One request comes in as octets and one answer leaves: how the executable shall end, and what it shall print. Whatever
fails is a CNI error with a code; nothing is left of an ADD that failed, and a DEL tries everything before it complains.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import trio

from weave.api.errors import Conflict, NotReady
from weave.cni.errors import CniError, Code, error_value
from weave.cni.request import Call, Request, Verb, decode_request, read_call
from weave.cni.result import Result, result_value
from weave.cni.versions import NEWEST, OLDEST, VERSIONS
from weave.errors import EnvironmentFailure, LocalError, WeaveError
from weave.logs import fields

log = logging.getLogger("weave.cni")

DEADLINE_S = 28.0
"""Just below the API's own, so that the runtime hears the reason in its own words."""

Answer = tuple[int, str]
"""Exit status and standard output."""


class Plugin(Protocol):
    """One plugin."""

    async def add(self, call: Call) -> Result:
        """Do what ADD asks."""

    async def delete(self, call: Call) -> None:
        """Do what DEL asks; what is gone already is fine."""

    async def check(self, call: Call) -> None:
        """Raise `CniError` where something is not as ADD left it."""

    async def collect(self, call: Call) -> None:
        """Remove what is not in the list of valid attachments."""

    async def status(self, call: Call) -> None:
        """Raise `CniError` where no container could be added now."""


@dataclass(frozen=True, slots=True)
class CniServer:
    """Answer requests for every plugin."""

    plugins: Mapping[str, Plugin]
    forget_spooled: Callable[[str, str, str], None]
    """Told plugin, container and interface before an ADD: a DEL that was left for later must not undo it."""

    async def answer(self, plugin: str, body: bytes) -> Answer:
        """Return how the executable ends and what it prints."""
        version = OLDEST
        try:
            request = decode_request(body)
            version = _version_of(request)
            with trio.fail_after(DEADLINE_S):
                return 0, await self._perform(plugin, read_call(request))
        except Exception as exc:  # noqa: BLE001 - the boundary: whatever it is becomes a CNI error
            error = _to_cni(exc)
            log.warning("CNI request failed", extra=fields(plugin=plugin, code=int(error.code), reason=error))
            return 1, json.dumps(error_value(version, error.code, str(error), error.details))

    async def _perform(self, name: str, call: Call) -> str:
        if call.verb is Verb.VERSION:
            version = call.conf.version if call.conf.version in VERSIONS else NEWEST
            return json.dumps({"cniVersion": version, "supportedVersions": list(VERSIONS)})
        plugin = self.plugins.get(name)
        if plugin is None:
            raise CniError(Code.INVALID_ENVIRONMENT, f"there is no plugin {name!r}; there are "
                           f"{', '.join(sorted(self.plugins))}")
        if call.verb is Verb.ADD:
            self.forget_spooled(name, call.container, call.interface)
            return json.dumps(result_value(await plugin.add(call), call.conf.version))
        verbs: Mapping[Verb, Callable[[Call], Awaitable[None]]] = {
            Verb.DEL: plugin.delete, Verb.CHECK: plugin.check, Verb.GC: plugin.collect, Verb.STATUS: plugin.status}
        await verbs[call.verb](call)
        return ""


def _version_of(request: Request) -> str:
    from weave.cni.netconf import read_version

    version = read_version(request.stdin)
    return version if version in VERSIONS else OLDEST


def _to_cni(error: Exception) -> CniError:
    """Return what a runtime is told of an error."""
    if isinstance(error, CniError):
        return error
    if isinstance(error, trio.TooSlowError):
        return CniError(Code.TRY_AGAIN, f"not done within {DEADLINE_S:g} s; see `weave status` for what the router "
                        "waits for")
    for kind, code in ((NotReady, Code.TRY_AGAIN), (Conflict, Code.REFUSED), (LocalError, Code.INVALID_CONFIG),
                       (EnvironmentFailure, Code.IO_FAILURE), (WeaveError, Code.IO_FAILURE)):
        if isinstance(error, kind):
            return CniError(code, str(error))
    log.error("CNI request failed inside the router", exc_info=error)
    return CniError(Code.INTERNAL, "the request failed inside the router; its log says why")
