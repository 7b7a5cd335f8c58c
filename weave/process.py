"""What every process of ours does at its edges: one line for what could not be, an end at the first signal."""

import signal
import sys
from collections.abc import Callable
from typing import NoReturn

import trio

from weave.errors import WeaveError
from weave.output import flush

STOPPING_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run(program: str, body: Callable[[], None]) -> NoReturn:
    """Run a process to its end: exit status 0, or 1 with one line on standard error where something could not be."""
    failure: WeaveError | None = None
    try:
        body()
    except* WeaveError as group:
        failure = first_cause(group)
    finally:
        flush(program)  # of help, too
    sys.exit(0 if failure is None else f"{program}: {failure}")


def first_cause(group: BaseExceptionGroup[WeaveError]) -> WeaveError:
    """Return the first cause of a group, which is what the operator needs to see."""
    leaf: BaseException = group
    while isinstance(leaf, BaseExceptionGroup):
        leaf = leaf.exceptions[0]
    assert isinstance(leaf, WeaveError)
    return leaf


async def stop_at_signal(stop: Callable[[signal.Signals], None],
                         task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Call `stop` at the first SIGTERM or SIGINT; the second ends the process at once."""
    with trio.open_signal_receiver(*STOPPING_SIGNALS) as signals:
        task_status.started()
        async for number in signals:
            for each in STOPPING_SIGNALS:
                signal.signal(each, signal.SIG_DFL)
            stop(signal.Signals(number))
            return
