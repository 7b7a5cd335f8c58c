"""What was done is undone when a later step fails, in bounded time, and what is not is told."""

import pytest
import trio
import trio.testing

from weave.errors import EnvironmentFailure
from weave.router.undoing import UNDO_DEADLINE_S, undoing


def test_undoing_that_does_not_end_is_given_up_and_told(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []

    async def work() -> None:
        async with undoing() as undo:
            undo.callback(done.append, "first")
            undo.push_async_callback(trio.sleep_forever)
            raise EnvironmentFailure("no room")

    async def story() -> None:
        with pytest.raises(EnvironmentFailure, match="no room"):
            await work()
        assert done == ["first"]
        assert trio.current_time() == pytest.approx(UNDO_DEADLINE_S)

    trio.run(story, clock=trio.testing.MockClock(autojump_threshold=0))
    assert "steps are not undone in time" in caplog.text


def test_nothing_is_told_where_all_is_undone(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        with trio.move_on_after(1):
            async with undoing() as undo:
                undo.push_async_callback(trio.sleep, 5)
                await trio.sleep_forever()

    trio.run(story, clock=trio.testing.MockClock(autojump_threshold=0))
    assert not caplog.records
