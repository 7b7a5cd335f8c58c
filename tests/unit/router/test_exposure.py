"""The host is exposed wholly or not at all, and hiding one address leaves what others need."""

from itertools import count

import pytest
import trio
import trio.testing

from tests.unit.router.house import House, cut_short, house, play
from weave.addresses import IPInterface, parse_interface
from weave.api.errors import Conflict
from weave.api.wishes import DEFAULT_WISH, parse_wishes
from weave.errors import EnvironmentFailure, LocalError
from weave.names import PeerName
from weave.net import Endpoint

OWN = parse_interface("10.32.0.1/24")
"""The bridge's own address."""
NEW = parse_wishes(["10.32.0.50/24", "10.32.1.60/24"])
SOON_S = 1.0
THERE = PeerName("02:00:00:00:00:02")


async def expose(made: House, *addresses: str, fqdn: str | None = None, masquerade: bool = True) -> list[IPInterface]:
    return await made.exposure.expose(parse_wishes(addresses) or (DEFAULT_WISH,), fqdn, masquerade=masquerade)


@pytest.mark.parametrize("fqdn", ["no name at all.weave.local", "h1.example.com", "", "."])
def test_a_name_that_cannot_be_is_refused_before_anything_is_done(fqdn: str) -> None:
    async def story() -> None:
        async with house() as made:
            before = await made.state()
            for addresses in ((), ("10.32.0.50/24",)):
                with pytest.raises(LocalError):
                    await expose(made, *addresses, fqdn=fqdn)
                assert await made.state() == before
    play(story)


def test_what_the_kernel_refuses_is_undone_wholly() -> None:
    async def story() -> None:
        async with house() as made:
            await expose(made, "10.32.0.50/24", masquerade=False)
            before = await made.state()
            made.kernel.refuses = parse_interface("10.32.0.60/24")
            with pytest.raises(EnvironmentFailure, match="cannot have"):
                await expose(made, "net:default", "10.32.0.50/24", "10.32.1.7/24", "10.32.0.60/24", fqdn="h1")
            assert await made.state() == before
    play(story)


def test_exposing_that_is_cancelled_at_any_step_is_undone() -> None:
    async def story() -> None:
        async with house() as made:
            heard: list[list[IPInterface]] = []
            made.exposure.on_addresses = lambda addresses: heard.append(sorted(addresses))
            before = await made.state()
            for steps in count():
                began = trio.current_time()
                if not await cut_short(lambda: made.exposure.expose(NEW, "h1.weave.local", masquerade=True), steps):
                    break
                assert await made.state() == before, steps
                assert trio.current_time() < began + SOON_S, steps
                assert heard[-1:] in ([], [[OWN]]), steps
            assert steps > 5
            assert heard[-1] == sorted(made.kernel.bridge)
    play(story)


def test_an_address_that_containers_got_to_need_meanwhile_stays() -> None:
    """The host waits for a second address; the first is made the bridge's own before the wait is given up."""
    async def story() -> None:
        async with house(has_bridge=False) as made:
            for number in range(128, 255):
                await made.service.claim("full", parse_interface(f"10.32.0.{number}/24"))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(expose, made, "net:default", "net:10.32.0.128/25")
                await trio.testing.wait_all_tasks_blocked()
                assert await made.addressing.bridge_address() == OWN
                nursery.cancel_scope.cancel()
            assert made.kernel.bridge == {OWN}
            assert made.service.lookup("weave:expose") == [OWN]
    play(story)


def test_a_subnet_is_masqueraded_until_the_last_that_wants_it_is_hidden() -> None:
    async def story() -> None:
        async with house() as made:
            before = await made.state()
            await expose(made, "10.32.0.50/24", "10.32.0.60/24", fqdn="h1.weave.local")
            await expose(made)
            await made.exposure.hide(parse_wishes(["10.32.0.50/24"]))
            assert made.kernel.masqueraded == {OWN.network}
            await made.exposure.hide(parse_wishes(["10.32.0.60/24"]))
            assert made.kernel.masqueraded == {OWN.network}
            await made.exposure.hide(())
            assert await made.state() == before
    play(story)


def test_the_same_address_with_another_length_is_refused() -> None:
    async def story() -> None:
        async with house() as made:
            await expose(made, "192.0.2.7/24")
            before = await made.state()
            for again in ("192.0.2.7/16", "10.32.0.1/16"):
                with pytest.raises(Conflict, match="which is the same address"):
                    await expose(made, again)
            assert await made.state() == before
    play(story)


def test_after_a_lost_state_the_bridge_keeps_what_can_be_claimed_of_the_range() -> None:
    async def story() -> None:
        async with house(has_bridge=False) as made:
            await made.service.claim("blue", parse_interface("10.32.0.7/24"))
            made.others.append(Endpoint("02:00:00:00:00:99", (parse_interface("10.32.0.8/24"),), "far", "ethwe", THERE))
            made.kernel.bridge = {OWN, *map(parse_interface, ("10.32.0.7/24", "10.32.0.8/24", "192.0.2.9/24"))}
            made.kernel.own, made.kernel.lent = None, {OWN}
            await made.exposure.recover()
            await made.exposure.claim_strays()
            assert made.kernel.bridge == {OWN, parse_interface("192.0.2.9/24")}
            assert made.kernel.masqueraded == set()
            assert [item.addresses for item in made.announcer.local()] == [(OWN,)]
            assert made.service.lookup("weave:expose") == [OWN]
            assert await made.addressing.bridge_address() == OWN
            assert made.service.lookup("blue") == [parse_interface("10.32.0.7/24")]
    play(story)


def test_an_address_that_a_person_gave_the_bridge_is_left_alone() -> None:
    async def story() -> None:
        async with house() as made:
            by_hand = parse_interface("10.32.0.99/24")
            made.kernel.bridge.add(by_hand)
            made.kernel.own = None
            await made.exposure.recover()
            await made.exposure.claim_strays()
            assert (made.kernel.bridge, made.kernel.own) == ({OWN, by_hand}, {OWN})
            assert [item.addresses for item in made.announcer.local()] == [(OWN,)]
            assert made.service.lookup("weave:expose") == [OWN]
    play(story)
