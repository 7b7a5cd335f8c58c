"""Follow the endpoints of the router of this host: one question after the other over its unix socket.

`GET /endpoints` waits in the router until something changed. A router that is away is asked again and again; whatever
happens to it, the rules stand.
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio

from weave.api.http1 import Answer, ResponseReader, encode_request, request_path
from weave.errors import EnvironmentFailure, RemoteError, WeaveError
from weave.logs import fields
from weave.npc.endpoint import Endpoint, EndpointBook, read_endpoints

log = logging.getLogger("weave.npc")

ANSWER_DEADLINE_S = 40.0
"""The router waits 25 s for a change."""
RETRY_S = 0.5
CHUNK = 1 << 18


@dataclass(slots=True)
class RouterWatch:
    """Keep the endpoints up to date."""

    socket: Path
    book: EndpointBook
    changed: Callable[[], None]
    trouble: str = "the router was not asked yet"
    """Empty while it answers."""
    _generation: int | None = field(default=None)

    async def run(self) -> None:
        """Follow the router; never returns."""
        while True:
            try:
                generation, endpoints = await self._ask()
            except WeaveError as exc:
                self._lost(str(exc))
                await trio.sleep(RETRY_S)
                continue
            self._take(generation, endpoints)

    def _take(self, generation: int, endpoints: Sequence[Endpoint]) -> None:
        if self.trouble:
            self.trouble = ""
            self.book.restarted(trio.current_time())
            log.info("following the router's endpoints", extra=fields(endpoints=len(endpoints)))
        if generation != self._generation:
            self._generation = generation
            self.book.take(endpoints)
            self.changed()

    def _lost(self, reason: str) -> None:
        self._generation = None
        if not self.trouble or not self.book.told:
            log.log(logging.DEBUG if self.trouble == reason else logging.WARNING,
                    "the router does not tell its endpoints; the rules stand", extra=fields(reason=reason))
        self.trouble = reason

    async def _ask(self) -> tuple[int, list[Endpoint]]:
        query = {} if self._generation is None else {"after": str(self._generation)}
        with trio.move_on_after(ANSWER_DEADLINE_S):
            answer = await ask(self.socket, request_path("endpoints", query=query))
            if answer.status != 200:
                raise RemoteError(f"the router answered {answer.status} to a question for its endpoints; is it as new "
                                  "as the policy controller?")
            try:
                return read_endpoints(json.loads(answer.body))
            except (ValueError, RecursionError) as exc:
                raise RemoteError("the router's answer is no JSON") from exc
        raise EnvironmentFailure(f"the router at {self.socket} did not answer within {ANSWER_DEADLINE_S:g} s")


async def ask(socket: Path, path: str) -> Answer:
    """Return the answer to a GET at a unix socket; raise `EnvironmentFailure` where there is none."""
    reader = ResponseReader()
    try:
        async with await trio.open_unix_socket(str(socket)) as stream:
            await stream.send_all(encode_request("GET", path, accept="application/json", content_type=None, body=b""))
            while True:
                answer = reader.feed(await stream.receive_some(CHUNK))
                if answer is not None:
                    return answer
    except (OSError, trio.BrokenResourceError) as exc:
        raise EnvironmentFailure(f"no router answers at {socket} ({exc}); start it with `weave launch`, or say its "
                                 "--socket") from exc
