"""Undo what was done so far when a later step fails, or when whoever asked is gone."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from weave.errors import WeaveError
from weave.logs import fields

log = logging.getLogger("weave.router")

UNDO_DEADLINE_S = 10.0


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
        raise
