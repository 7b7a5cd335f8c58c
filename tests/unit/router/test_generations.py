"""Who watches learns of every change, and of those that came before it asked."""

import trio
import trio.testing

from weave.router.generations import Generations


async def _watch(generations: Generations, after: int | None, seen: list[int]) -> None:
    seen.append(await generations.beyond(after))


def test_another_generation_is_told_at_once_and_this_one_when_it_is_over() -> None:
    async def story() -> list[int]:
        generations, seen = Generations(5), list[int]()
        seen.append(await generations.beyond(None))
        seen.append(await generations.beyond(4))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch, generations, 5, seen)
            await trio.testing.wait_all_tasks_blocked()
            assert len(seen) == 2
            generations.advance()
            generations.advance()
        return seen

    assert trio.run(story) == [5, 5, 7]
