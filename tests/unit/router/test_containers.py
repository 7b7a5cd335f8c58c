"""A container joins wholly or not at all, whenever its runtime gives up; nothing of an attempt holds up the next."""

from itertools import count

import trio

from tests.unit.router.house import cut_short, house, play, spec
from weave.addresses import parse_interface

SOON_S = 1.0


def test_an_attach_cancelled_at_any_step_leaves_nothing() -> None:
    async def story() -> None:
        async with house() as made:
            before = await made.state()
            for steps in count():
                began = trio.current_time()
                if not await cut_short(lambda: made.containers.attach(spec(fqdns=["web.weave.local"])), steps):
                    break
                assert await made.state() == before, steps
                assert trio.current_time() < began + SOON_S, steps
            assert steps > 5
            assert [item.container for item in made.containers.attachments()] == ["blue"]
    play(story)


def test_an_attach_cancelled_while_the_controller_is_awaited_leaves_nothing() -> None:
    async def story() -> None:
        async with house() as made:
            before = await made.state()
            made.kernel.admits = False
            with trio.move_on_after(SOON_S):
                await made.containers.attach(spec(fqdns=["web.weave.local"]))
            assert await made.state() == before
    play(story)


def test_a_further_address_cancelled_at_any_step_leaves_the_container_as_it_was() -> None:
    async def story() -> None:
        async with house() as made:
            await made.containers.attach(spec(fqdns=["web.weave.local"]))
            before = await made.state()
            more = spec("blue", "10.32.0.99/24", fqdns=["web.weave.local", "www.weave.local"])
            for steps in count():
                began = trio.current_time()
                if not await cut_short(lambda: made.containers.attach(more), steps):
                    break
                assert await made.state() == before, steps
                assert trio.current_time() < began + SOON_S, steps
            assert [str(item) for item in made.kernel.inside["blue", "ethwe"]] == ["10.32.0.2/24", "10.32.0.99/24"]
    play(story)


def test_a_further_address_cancelled_while_the_controller_is_awaited_leaves_the_container_as_it_was() -> None:
    async def story() -> None:
        async with house() as made:
            await made.containers.attach(spec(fqdns=["web.weave.local"]))
            before = await made.state()
            made.kernel.admits = False
            with trio.move_on_after(SOON_S):
                await made.containers.attach(spec("blue", "10.32.0.99/24", fqdns=["www.weave.local"]))
            assert await made.state() == before
    play(story)


def test_what_waits_for_an_address_when_it_is_given_up_waits_no_longer() -> None:
    """Two wishes of one container, of which the second was never waited for."""
    async def story() -> None:
        async with house() as made:
            for number in range(2, 255):
                await made.service.claim("full", parse_interface(f"10.32.0.{number}/24"))
            began = trio.current_time()
            with trio.move_on_after(SOON_S):
                await made.containers.attach(spec("blue", "net:10.32.0.0/25", "net:10.32.0.128/25"))
            assert trio.current_time() == began + SOON_S
            assert made.service.view().pending_allocates == ()
    play(story)
