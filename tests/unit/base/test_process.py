"""A process says in one line what could not be, and ends at the first signal."""

import os
import signal

import pytest
import trio

from weave import process
from weave.errors import EnvironmentFailure, LocalError


def test_a_body_that_ends_is_exit_status_0() -> None:
    with pytest.raises(SystemExit) as ended:
        process.run("weave", lambda: None)
    assert ended.value.code == 0


@pytest.mark.parametrize("failure", [
    LocalError("cannot do it"),
    ExceptionGroup("outer", [ExceptionGroup("inner", [EnvironmentFailure("cannot do it"), LocalError("nor this")])]),
])
def test_what_could_not_be_is_one_line(failure: Exception) -> None:
    def body() -> None:
        raise failure

    with pytest.raises(SystemExit) as ended:
        process.run("weave", body)
    assert ended.value.code == "weave: cannot do it"


def test_a_defect_is_not_hidden() -> None:
    with pytest.raises(ExceptionGroup):
        process.run("weave", lambda: trio.run(_fail))


async def _fail() -> None:
    async with trio.open_nursery():
        raise ValueError


@pytest.mark.parametrize("number", process.STOPPING_SIGNALS)
def test_the_first_signal_stops(number: signal.Signals) -> None:
    heard: list[signal.Signals] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(process.stop_at_signal, heard.append)
            os.kill(os.getpid(), number)

    trio.run(main)
    assert heard == [number]
