"""Undo what was done so far when a later step fails, or when whoever asked is gone; or end it all the same."""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

import outcome
import trio

from weave.errors import EnvironmentFailure, WeaveError
from weave.logs import fields

log = logging.getLogger("weave.router")

UNDO_DEADLINE_S = 10.0
FINISH_DEADLINE_S = 10.0
"""Some milliseconds will do; what takes longer is asked for again."""


async def together(*jobs: Callable[[], Awaitable[object]]) -> None:
    """Run jobs at once, all of them to their end; then raise the first failure, alone.

    The last one may keep the processor for a while: it begins when the others have handed on what others do for them.
    """
    ended: list[outcome.Value[object] | outcome.Error] = []

    async def run(job: Callable[[], Awaitable[object]]) -> None:
        ended.append(await outcome.acapture(job))

    *others, last = jobs
    async with trio.open_nursery() as nursery:
        for job in others:
            nursery.start_soon(run, job)
        await trio.lowlevel.checkpoint()
        await run(last)
    for end in ended:
        end.unwrap()


@asynccontextmanager
async def undoing() -> AsyncIterator[AsyncExitStack]:
    """Give a stack of what undoes the steps so far; it runs when the body fails or is cancelled, and then only."""
    undo = AsyncExitStack()
    try:
        yield undo
    except BaseException:
        with trio.move_on_after(UNDO_DEADLINE_S) as scope:
            scope.shield = True
            try:
                await undo.aclose()
            except WeaveError as exc:
                log.warning("a step is not undone; the sweep sees to it", extra=fields(reason=exc))
        if scope.cancelled_caught:
            log.warning("steps are not undone in time; `weave detach` removes what is left",
                        extra=fields(waited_s=UNDO_DEADLINE_S))
        raise


@contextmanager
def finishing(what: str) -> Iterator[None]:
    """Let the body come to its end though whoever asked is gone; raise `EnvironmentFailure` where it takes too long."""
    with trio.move_on_after(FINISH_DEADLINE_S, shield=True) as scope:
        yield
    if scope.cancelled_caught:
        raise EnvironmentFailure(f"{what} is not done after {FINISH_DEADLINE_S:g} s; ask again")
