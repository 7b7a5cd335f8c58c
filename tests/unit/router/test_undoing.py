"""What was done is undone when a later step fails, or done to its end, in bounded time; what is not is told."""

import pytest
import trio
import trio.testing

from weave.errors import EnvironmentFailure
from weave.router.undoing import FINISH_DEADLINE_S, UNDO_DEADLINE_S, finishing, undoing


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


def test_what_is_to_be_finished_is_not_cancelled() -> None:
    async def story() -> None:
        with trio.move_on_after(1):
            with finishing("it"):
                await trio.sleep(5)
            assert trio.current_time() == pytest.approx(5)

    trio.run(story, clock=trio.testing.MockClock(autojump_threshold=0))


def test_what_cannot_be_finished_is_refused_in_words() -> None:
    async def story() -> None:
        with pytest.raises(EnvironmentFailure, match="it is not done after 10 s; ask again"), finishing("it"):
            await trio.sleep_forever()
        assert trio.current_time() == pytest.approx(FINISH_DEADLINE_S)

    trio.run(story, clock=trio.testing.MockClock(autojump_threshold=0))
