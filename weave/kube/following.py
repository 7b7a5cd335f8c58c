"""Follow all objects of one kind for ever: the shell of the `Reflector`.

One request at a time, one line of a watch decoded at a time. What changed is handed to `deliver`, which may wait: then
the server waits too, and at worst ends the watch. API failures never leave this module; they are told as `State`.
"""

import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import assert_never

import trio

from weave.kube import limits
from weave.kube.client import Client
from weave.kube.failure import ApiFailure
from weave.kube.reflector import Change, List, Reflector, State, Wait, Watch
from weave.kube.resource import Resource
from weave.logs import fields

log = logging.getLogger("weave.kube")

Deliver = Callable[[Sequence[Change]], Awaitable[None]]


async def follow(
    client: Client,
    resource: Resource,
    deliver: Deliver,
    *,
    may_be_absent: bool = False,
    selection: Mapping[str, str] | None = None,
    rng: random.Random | None = None,
) -> None:
    """Deliver everything that happens to a kind of objects; never returns."""
    machine = Reflector(resource.plural, rng or random.Random(), may_be_absent=may_be_absent)  # noqa: S311 - jitter

    async def hand_on(changes: Sequence[Change]) -> None:
        for change in changes:
            if isinstance(change, State):
                log.log(logging.INFO if change.is_well else logging.WARNING, "kubernetes",
                        extra=fields(kind=resource.plural, state=change.sentence))
        if changes:
            await deliver(changes)

    while True:
        action = machine.action
        match action:
            case Wait(until):
                await trio.sleep_until(until)
                machine.waited()
            case List():
                await hand_on(await _list(client, resource, action, machine, selection or {}))
            case Watch():
                await _watch(client, resource, action, machine, selection or {}, hand_on)
            case _:
                assert_never(action)


async def _list(
    client: Client, resource: Resource, action: List, machine: Reflector, selection: Mapping[str, str]
) -> Sequence[Change]:
    try:
        with trio.fail_after(limits.REQUEST_DEADLINE_S):
            page = await client.page(resource, action, selection)
    except ApiFailure as failure:
        return machine.failed(failure, trio.current_time())
    except trio.TooSlowError:
        return machine.failed(ApiFailure(f"listing {resource.plural}", None, "in time"), trio.current_time())
    return machine.listed(page, trio.current_time())


async def _watch(
    client: Client, resource: Resource, action: Watch, machine: Reflector, selection: Mapping[str, str],
    hand_on: Deliver,
) -> None:
    try:
        async with AsyncExitStack() as stack:
            with trio.fail_after(limits.REQUEST_DEADLINE_S):
                lines = await stack.enter_async_context(client.watch(resource, action, selection))
            await hand_on(machine.opened(trio.current_time()))
            async for line in lines:
                await hand_on(machine.line(line, trio.current_time()))
                if machine.action is not action:
                    return
        changes = machine.closed(trio.current_time())
    except ApiFailure as failure:
        is_silent_end = machine.is_open and failure.status is None
        now = trio.current_time()
        changes = machine.closed(now) if is_silent_end else machine.failed(failure, now)
    except trio.TooSlowError:
        changes = machine.failed(ApiFailure(f"watching {resource.plural}", None, "in time"), trio.current_time())
    await hand_on(changes)
