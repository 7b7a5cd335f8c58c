"""What the user asked for: targets, without and with discovery."""

from math import inf
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.mesh_planner.peers import address, known, name
from weave.errors import LocalError
from weave.mesh import planner as planner_module
from weave.mesh.backoff import LONGEST_RETRY_S
from weave.mesh.planner import DIAL_LIMIT_S, Planner, PlannerConfig, PlanStep

HOST = "10.0.0.2"
KEY = "10.0.0.2:6783"


def planner(*, me: int = 1, seed: int = 1, **config: bool | int) -> Planner:
    settings = PlannerConfig(**{"discovery": False, **config})  # type: ignore[arg-type]
    return Planner(me=name(me), rng=Random(seed), config=settings)


def with_target(*addresses: str) -> Planner:
    made = planner()
    made.add_targets(addresses or [HOST], 0.0)
    return made


def state(of: Planner) -> list[str]:
    return [view.state for view in of.targets()]


def test_nothing_to_do_without_targets() -> None:
    idle = planner()
    assert idle.plan(0.0) == PlanStep()
    assert idle.deadline() == inf


def test_first_dial_is_at_once_and_only_once() -> None:
    one = with_target()
    assert one.deadline() == 0.0
    assert state(one) == ["waiting"]
    assert one.plan(0.0).dial == (KEY,)
    assert one.plan(0.1).dial == ()
    assert state(one) == ["connecting"]


def test_one_address_in_two_spellings_is_one_target() -> None:
    assert with_target(HOST, KEY, " 10.0.0.2 ").plan(0.0).dial == (KEY,)


def test_a_name_keeps_its_text_and_is_dialled_with_the_port() -> None:
    one = with_target("Host1")
    assert one.plan(0.0).dial == ("host1:6783",)
    assert one.targets()[0].address == "Host1"


def test_bad_address_refuses_all_of_the_call() -> None:
    one = planner()
    with pytest.raises(LocalError):
        one.add_targets([HOST, "10.0.0"], 0.0)
    assert one.targets() == []


def test_too_many_targets_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner_module, "MAX_USER_TARGETS", 2)
    with pytest.raises(LocalError, match="more than 2"):
        with_target("a", "b", "c")


def test_failure_is_shown_with_its_reason_and_retried() -> None:
    one = with_target()
    one.plan(0.0)
    one.failed(KEY, "connection refused", True, 1.0)
    (view,) = one.targets()
    assert (view.state, view.info) == ("failed", "connection refused")
    assert view.next_retry is not None
    assert view.describe(1.0).startswith("connection refused; retry in ")
    assert one.plan(1.0).dial == ()
    assert one.deadline() == view.next_retry
    assert one.plan(one.deadline()).dial == (KEY,)
    assert state(one) == ["retrying"]


def test_what_can_never_work_is_not_retried_until_asked() -> None:
    one = with_target()
    one.plan(0.0)
    one.failed(KEY, "this is ourselves", False, 1.0)
    assert one.plan(1e6) == PlanStep()
    assert one.deadline() == inf
    assert one.targets()[0].next_retry is None
    assert "never" in one.targets()[0].describe(1.0)
    one.add_targets([HOST], 1e6)
    assert one.plan(1e6).dial == (KEY,)


def test_asking_again_dials_at_once() -> None:
    one = with_target()
    one.plan(0.0)
    one.failed(KEY, "no route", True, 1.0)
    one.add_targets([HOST], 1.1)
    assert one.plan(1.1).dial == (KEY,)


def test_connected_target_is_left_alone() -> None:
    one = with_target()
    one.plan(0.0)
    one.connected(1, name(2), KEY, True, KEY, 1.0)
    assert state(one) == ["connected"]
    assert one.targets()[0].peer == name(2)
    assert one.plan(1.0) == PlanStep()
    assert one.deadline() == inf


def test_target_of_a_peer_that_connects_to_us_is_not_dialled_again() -> None:
    one = with_target("host1")
    one.plan(0.0)
    one.connected(1, name(2), KEY, True, "host1:6783", 1.0)
    one.disconnected(1, "closed", 2.0)
    one.connected(2, name(2), "10.0.0.2:50000", False, None, 2.1)
    assert state(one) == ["connected"]
    assert one.plan(1e6) == PlanStep()


def test_inbound_peer_seen_at_the_target_counts_as_connected() -> None:
    one = with_target(address(2))
    one.connected(1, name(2), address(2).replace("6783", "50000"), False, None, 0.0)
    one.peers_known(known(2), 0.0)
    assert state(one) == ["connected"]
    assert one.plan(0.0) == PlanStep()


def test_peer_that_claims_the_target_from_elsewhere_does_not_count() -> None:
    one = with_target(address(2))
    one.connected(1, name(3), "10.9.9.9:50000", False, None, 0.0)
    one.peers_known({name(3): (address(2),)}, 0.0)
    assert one.plan(0.0).dial == (address(2),)


def test_lost_connection_is_dialled_again_soon() -> None:
    one = with_target()
    one.plan(0.0)
    one.connected(1, name(2), KEY, True, KEY, 1.0)
    one.disconnected(1, "heartbeats missing", 100.0)
    assert one.targets()[0].info == "heartbeats missing"
    one.plan(100.0)
    assert 100.5 <= one.deadline() <= 101.5


def test_second_connection_to_the_same_peer_may_go() -> None:
    one = with_target("a", "b")
    assert one.plan(0.0).dial == ("a:6783", "b:6783")
    one.connected(1, name(2), KEY, True, "a:6783", 1.0)
    one.connected(2, name(2), KEY, True, "b:6783", 1.0)
    one.disconnected(2, "duplicate", 1.0)
    assert state(one) == ["connected", "connected"]
    assert one.plan(1e6) == PlanStep()


def test_short_connections_do_not_reset_the_backoff() -> None:
    one, now, delays = with_target(), 0.0, []
    for conn in range(12):
        assert one.plan(now).dial == (KEY,)
        one.connected(conn, name(2), KEY, True, KEY, now)
        one.disconnected(conn, "closed at once", now + 1.0)
        one.plan(now + 1.0)
        delays.append(one.deadline() - now - 1.0)
        now = one.deadline()
    assert max(delays) > 15.0


def test_replace_drops_the_other_targets() -> None:
    one = with_target("a", "b")
    one.plan(0.0)
    one.add_targets(["b", "c"], 1.0, replace=True)
    assert [view.address for view in one.targets()] == ["b", "c"]
    assert one.plan(1.0).dial == ("c:6783",)
    one.add_targets([], 2.0, replace=True)
    assert one.targets() == []


def test_forgotten_target_is_not_dialled_and_its_late_answer_is_ignored() -> None:
    one = with_target()
    one.plan(0.0)
    one.forget(["10.0.0.2:6783", "no address!"], 1.0)
    one.failed(KEY, "refused", True, 2.0)
    assert one.targets() == []
    assert one.plan(1e6) == PlanStep()


def test_forget_keeps_the_connection() -> None:
    one = with_target()
    one.plan(0.0)
    one.connected(1, name(2), KEY, True, KEY, 1.0)
    one.forget([HOST], 2.0)
    assert one.plan(1e6) == PlanStep()


def test_dial_without_an_answer_fails_in_the_end() -> None:
    one = with_target()
    one.plan(0.0)
    assert one.deadline() == DIAL_LIMIT_S
    one.plan(DIAL_LIMIT_S)
    assert one.targets()[0].info == "no answer to the dial"
    assert one.plan(one.deadline()).dial == (KEY,)


def test_dials_in_parallel_are_bounded_and_all_get_their_turn() -> None:
    many = planner(parallel_dials=2)
    many.add_targets(["a", "b", "c"], 0.0)
    assert many.plan(0.0).dial == ("a:6783", "b:6783")
    assert many.deadline() == DIAL_LIMIT_S
    many.failed("a:6783", "refused", True, 1.0)
    assert many.plan(1.0).dial == ("c:6783",)


def test_discovery_off_dials_nobody_else_and_closes_nothing() -> None:
    one = with_target()
    one.peers_known(known(*range(2, 200)), 0.0)
    assert one.plan(0.0).dial == (KEY,)
    one.connected(1, name(100), address(100), True, address(100), 0.0)
    assert one.plan(1e6).close == ()


def test_unknown_connections_and_dials_are_ignored() -> None:
    one = planner()
    one.disconnected(7, "never was", 0.0)
    one.failed("10.0.0.9:1", "never dialled", True, 0.0)
    one.failed("not an address", "never dialled", True, 0.0)
    assert one.plan(0.0) == PlanStep()


def test_reason_is_kept_short() -> None:
    one = with_target()
    one.plan(0.0)
    one.failed(KEY, "x" * 10_000, True, 0.0)
    assert len(one.targets()[0].info) <= 200


@settings(max_examples=50, deadline=None)
@given(
    fates=st.lists(st.tuples(st.sampled_from(["refuse", "drop", "live", "silent"]), st.floats(0, 100)), max_size=40),
    seed=st.integers(0, 1000),
)
def test_target_is_dialled_again_within_the_longest_backoff(fates: list[tuple[str, float]], seed: int) -> None:
    one, now = planner(seed=seed), 0.0
    one.add_targets([HOST], now)
    for conn, (fate, duration) in enumerate(fates):
        assert one.plan(now).dial == (KEY,)
        assert one.deadline() > now
        now += duration if fate != "silent" else DIAL_LIMIT_S
        if fate == "refuse":
            one.failed(KEY, "refused", True, now)
        elif fate != "silent":
            one.connected(conn, name(2), KEY, True, KEY, now)
            now += 61.0 if fate == "live" else 1.0
            one.disconnected(conn, "gone", now)
        one.plan(now)
        assert one.deadline() <= now + LONGEST_RETRY_S
        now = max(now, one.deadline())
