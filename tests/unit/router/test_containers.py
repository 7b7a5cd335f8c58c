"""A container joins wholly or not at all, whenever its runtime gives up; what it begins to leave it can leave again."""

from functools import partial
from ipaddress import ip_address
from itertools import count
from types import SimpleNamespace

import pytest
import trio

from tests.unit.router.house import ME, MTU, House, cut_short, house, play, spec
from weave.addresses import parse_interface
from weave.api.control import AttachSpec, DetachSpec
from weave.api.errors import Conflict
from weave.api.wishes import parse_wishes
from weave.errors import EnvironmentFailure, LocalError
from weave.names import PeerName
from weave.net import Endpoint, Grant
from weave.router.containers import SWEEP_GATHERS_S, SWEEP_INTERVAL_S, grants_of
from weave.router.control import RouterControl

SOON_S = 1.0
THERE = PeerName("02:00:00:00:00:02")


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


def test_a_detach_cancelled_at_any_step_is_done_or_can_be_asked_for_again() -> None:
    async def story() -> None:
        async with house() as made:
            before = await made.state()
            for steps in count():
                await made.containers.attach(spec(fqdns=["web.weave.local"]))
                attached = await made.state()
                is_cut = await cut_short(lambda: made.containers.detach(DetachSpec("blue", "ethwe")), steps)
                assert await made.state() in (attached, before), steps
                await made.containers.detach(DetachSpec("blue", "ethwe"))
                assert await made.state() == before, steps
                if not is_cut:
                    break
    play(story)


def test_an_address_whose_removal_is_cancelled_at_any_step_is_gone_or_can_be_removed_again() -> None:
    async def story() -> None:
        async with house() as made:
            await made.containers.attach(spec(fqdns=["web.weave.local"]))
            before = await made.state()
            gone = DetachSpec("blue", "ethwe", parse_wishes(["10.32.0.99/24"]))
            for steps in count():
                await made.containers.attach(spec("blue", "10.32.0.99/24"))
                attached = await made.state()
                is_cut = await cut_short(lambda: made.containers.detach(gone), steps)
                assert await made.state() in (attached, before), steps
                await made.containers.detach(gone)
                assert await made.state() == before, steps
                if not is_cut:
                    break
    play(story)


@pytest.mark.parametrize("wishes", [("10.32.0.7/16",), ("10.32.0.8/24", "10.32.0.8/16")])
def test_an_address_with_two_prefix_lengths_is_refused(wishes: tuple[str, ...]) -> None:
    async def story() -> None:
        async with house() as made:
            await made.containers.attach(spec("blue", "10.32.0.7/24"))
            before = await made.state()
            with pytest.raises(Conflict, match="which is the same address"):
                await made.containers.attach(spec("blue", *wishes))
            assert await made.state() == before
    play(story)


def test_an_address_that_stays_with_another_length_is_not_given_back() -> None:
    """An earlier version let a container have both."""
    async def story() -> None:
        async with house() as made:
            both = tuple(map(parse_interface, ("10.32.0.7/24", "10.32.0.7/16")))
            made.kernel.inside["blue", "ethwe"] = both
            await made.containers.recover()
            await made.containers.claim_orphans()
            await made.containers.detach(DetachSpec("blue", "ethwe", parse_wishes(["net:10.32.0.0/24"])))
            assert made.kernel.inside["blue", "ethwe"] == both[1:]
            assert len(made.service.lookup("blue")) == 1
            await made.containers.detach(DetachSpec("blue"))
            assert made.service.lookup("blue") == []
    play(story)


def test_a_detach_that_failed_is_repeated() -> None:
    async def story() -> None:
        async with house() as made:
            before = await made.state()
            await made.containers.attach(spec(fqdns=["web.weave.local"]))
            attached = await made.state()
            made.kernel.is_broken = True
            for _ in range(2):
                with pytest.raises(EnvironmentFailure, match="would not have it"):
                    await made.containers.detach(DetachSpec("blue"))
                assert await made.state() == attached
            made.kernel.is_broken = False
            assert list(map(str, await made.containers.detach(DetachSpec("blue")))) == ["10.32.0.2/24"]
            assert await made.state() == before
    play(story)


def test_a_cable_that_is_in_no_record_is_removed_by_detaching_it() -> None:
    """Undoing an attachment may fail too."""
    async def story() -> None:
        async with house() as made:
            before = await made.state()
            made.kernel.inside["blue", "eth0"] = (parse_interface("10.32.0.7/24"),)
            await made.service.claim("blue/eth0", parse_interface("10.32.0.7/24"))
            assert await made.containers.detach(DetachSpec("blue", "eth0")) == []
            assert await made.state() == before
    play(story)


def test_a_container_that_ended_while_the_kernel_fails_is_forgotten_later() -> None:
    async def story() -> None:
        async with house() as made:
            before = await made.state()
            await made.containers.attach(spec(fqdns=["web.weave.local"]))
            made.kernel.inside.clear()
            made.kernel.is_broken = True
            await made.containers.recover()
            async with trio.open_nursery() as nursery:
                await nursery.start(made.containers.sweep)
                await trio.sleep(SWEEP_GATHERS_S * 2)
                assert made.containers.attachments() != []
                made.kernel.is_broken = False
                await trio.sleep(SWEEP_INTERVAL_S * 2)
                assert await made.state() == before
                nursery.cancel_scope.cancel()
    play(story)


@pytest.mark.parametrize("mac", ["02:00:00:00:00:77", "02:00:00:00:00:99", ME])
def test_a_mac_that_is_taken_is_refused_and_stays_whose_it_is(mac: str) -> None:
    async def story() -> None:
        async with house() as made:
            await made.containers.attach(spec("first", mac="02:00:00:00:00:77"))
            made.others.append(Endpoint("02:00:00:00:00:99", (), "far", "ethwe", THERE))
            before = await made.state()
            with pytest.raises(Conflict, match=f"{mac} is the MAC of"):
                await made.containers.attach(spec("blue", mac=mac))
            await made.containers.detach(DetachSpec("blue"))
            assert await made.state() == before
            await made.containers.attach(spec("first", mac="02:00:00:00:00:77"))
            assert await made.state() == before
    play(story)


def test_of_two_that_come_with_one_mac_one_is_refused() -> None:
    async def story() -> None:
        async with house() as made:
            refused: list[str] = []

            async def attach(container: str) -> None:
                try:
                    await made.containers.attach(spec(container, mac="02:00:00:00:00:77"))
                except Conflict:
                    refused.append(container)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(attach, "one")
                nursery.start_soon(attach, "other")
            [attached] = made.containers.attachments()
            assert {attached.container, *refused} == {"one", "other"}
            assert sorted(made.kernel.inside) == [(attached.container, "ethwe")]
            assert {attached.container} < {item.container for item in made.announcer.local()}
    play(story)


@pytest.mark.parametrize("taken", ["10.32.0.8/24", "192.0.2.8/24"])
def test_an_address_that_lives_on_another_host_is_refused(taken: str) -> None:
    async def story() -> None:
        async with house() as made:
            await made.containers.attach(spec("first", taken))
            made.others.append(Endpoint("02:00:00:00:00:99", (parse_interface(taken),), "far", "ethwe", THERE))
            await made.containers.attach(spec("first", taken))
            await made.containers.detach(DetachSpec("first"))
            before = await made.state()
            for job in (partial(made.containers.attach, spec("blue", taken)),
                        partial(made.exposure.expose, parse_wishes([taken]), None, masquerade=True),
                        partial(made.addressing.claim, "blue", parse_interface(taken))):
                with pytest.raises(Conflict, match=f"{taken[:-3]} is in use by far on {THERE}"):
                    await job()
            assert await made.state() == before
            await made.containers.attach(spec("far", taken))
    play(story)


def test_a_container_in_no_record_keeps_its_addresses_but_for_those_of_others() -> None:
    """The state file is older than it, or was lost; a container can give itself any address."""
    async def story() -> None:
        async with house() as made:
            await made.service.claim("victim", parse_interface("10.32.0.7/24"))
            made.others.append(Endpoint("02:00:00:00:00:99", (parse_interface("192.0.2.8/24"),), "far", "ethwe", THERE))
            made.kernel.inside["blue", "ethwe"] = tuple(map(parse_interface, (
                "10.32.0.5/24", "10.32.0.7/24", "192.0.2.8/24", "192.0.2.9/24")))
            await made.containers.recover()
            assert "10.32.0.7" not in str(made.announcer.local())
            await made.containers.claim_orphans()
            kept = tuple(map(parse_interface, ("10.32.0.5/24", "192.0.2.9/24")))
            assert made.kernel.inside["blue", "ethwe"] == kept
            assert [item.addresses for item in made.containers.attachments()] == [kept]
            assert [item.addresses for item in made.announcer.local() if item.container == "blue"] == [kept]
            assert made.service.lookup("blue") == list(kept)
            assert await grants_of(made.store) == {("blue", "ethwe"):
                Grant(made.containers.attachments()[0].mac, kept)}
    play(story)


def test_the_names_of_a_container_live_as_long_as_its_last_interface() -> None:
    async def story() -> None:
        async with house() as made:
            await made.naming.add("weave:extern", "db.weave.local", ip_address("192.0.2.9"))
            before = await made.state()
            await made.containers.attach(spec(fqdns=["web.weave.local"]))
            await made.containers.attach(spec(interface="eth0", fqdns=["www.weave.local"]))
            await made.naming.add("blue", "db.weave.local", ip_address("192.0.2.9"))
            await made.containers.detach(DetachSpec("blue", "eth0"))
            assert names(made, "blue") == ["db.weave.local.", "web.weave.local."]
            await made.containers.detach(DetachSpec("blue"))
            assert await made.state() == before
    play(story)


def test_names_survive_an_interface_that_ended_while_no_router_ran() -> None:
    async def story() -> None:
        async with house() as made:
            for interface in ("eth0", "eth1", "eth2"):
                await made.containers.attach(spec(interface=interface, fqdns=[f"{interface}.weave.local"]))
            await made.naming.add("blue", "db.weave.local", ip_address("192.0.2.9"))
            del made.kernel.inside["blue", "eth0"], made.kernel.inside["blue", "eth2"]
            await made.containers.recover()
            assert names(made, "blue") == ["db.weave.local.", "eth1.weave.local."]
            made.kernel.inside.clear()
            await made.containers.recover()
            assert names(made, "blue") == []
    play(story)


def test_a_name_that_was_removed_does_not_come_back() -> None:
    async def story() -> None:
        async with house() as made:
            control = RouterControl(made, None, made.store, ME, 1)  # type: ignore[arg-type]
            await made.containers.attach(spec(fqdns=["web.weave.local", "www.weave.local"]))
            await control.remove_name("blue", "WEB.weave.local.", None)
            await made.containers.attach(spec("blue", "10.32.0.99/24", own_fqdn="blue.weave.local"))
            assert names(made, "blue") == ["www.weave.local."] * 2
            await control.remove_name("blue", None, ip_address("10.32.0.99"))
            await made.containers.attach(spec(own_fqdn="blue.weave.local"))
            assert names(made, "blue") == ["www.weave.local."]
            await control.remove_name(None, None, None)
            await made.containers.recover()
            await made.containers.attach(spec(own_fqdn="blue.weave.local"))
            assert names(made, "blue") == []
    play(story)


@pytest.mark.parametrize(("fqdns", "expected"), [
    ([], ["blue.weave.local."]), (["web.weave.local"], ["web.weave.local."]),
])
def test_its_own_name_is_that_of_a_new_container_without_another(fqdns: list[str], expected: list[str]) -> None:
    async def story() -> None:
        async with house() as made:
            await made.containers.attach(spec(fqdns=fqdns, own_fqdn="blue.weave.local"))
            await made.containers.attach(spec(own_fqdn="blue.weave.local"))
            assert names(made, "blue") == expected
    play(story)


@pytest.mark.parametrize("changed", [spec(mac="02:00:00:00:00:78"), spec(mtu=1200)])
def test_what_an_attached_container_cannot_become_is_refused(changed: AttachSpec) -> None:
    async def story() -> None:
        async with house() as made:
            await made.containers.attach(spec(mac="02:00:00:00:00:77"))
            before = await made.state()
            with pytest.raises(Conflict, match="detach it first"):
                await made.containers.attach(changed)
            await made.containers.attach(spec(mac="02:00:00:00:00:77", mtu=MTU))
            assert await made.state() == before
    play(story)


def names(made: House, container: str) -> list[str]:
    return [entry.fqdn for entry in made.catalogue.entries() if entry.container == container]


def test_nothing_is_given_away_while_another_machine_has_our_key() -> None:
    async def story() -> None:
        async with house() as made:
            core = SimpleNamespace(has_clone=lambda: True)
            parts = SimpleNamespace(mesh=SimpleNamespace(core=core), ipam=made.addressing.ipam)
            control = RouterControl(parts, None, made.store, ME, 1)  # type: ignore[arg-type]
            with pytest.raises(Conflict, match=r"another machine runs with the key .*--force"):
                await control.surrender()
            assert made.service.view().owners[0].peer == ME
            core.has_clone = lambda: False
            await control.surrender()
    play(story)


@pytest.mark.parametrize(("ident", "instead"), [("weave:expose", "weave hide"), ("weave:extern", "weave dns-remove")])
def test_what_is_no_container_is_not_treated_as_one(ident: str, instead: str) -> None:
    async def story() -> None:
        async with house() as made:
            parts = SimpleNamespace(addressing=made.addressing)
            control = RouterControl(parts, None, made.store, ME, 1)  # type: ignore[arg-type]
            before = await made.state()
            assert made.service.owned() == {"weave:expose": list(made.kernel.bridge)}
            for job in (partial(made.containers.attach, spec(ident)),
                        partial(made.containers.detach, DetachSpec(ident)),
                        partial(control.release, ident, None),
                        partial(control.release, ident, next(iter(made.kernel.bridge)).ip)):
                with pytest.raises(LocalError, match=f"{ident} is no container.*{instead}"):
                    await job()
            assert await made.state() == before
    play(story)
