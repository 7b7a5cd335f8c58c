"""Keys are agreed and replaced without a packet lost, whatever the mesh does to the messages."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.net_crypt.pair import HIGH, LOW, OTHER_PASSWORD, PASSWORD, STATIC, Pair, way
from weave.net.crypt import limits
from weave.net.crypt import pact_messages as wire
from weave.net.crypt.pact import Pact, Party, Send
from weave.net.crypt.pact_messages import Way

MINUTE_S = 60.0


def agreed(seed: int = 1, **network: float) -> Pair:
    pair = Pair(seed, **network)
    pair.want(LOW, HIGH)
    pair.run(MINUTE_S)
    assert pair.carries(LOW)
    assert pair.carries(HIGH)
    return pair


def test_two_ends_agree_at_once() -> None:
    pair = Pair(1)
    pair.want(LOW, HIGH)
    pair.run(1.0)
    assert pair.carries(LOW)
    assert pair.carries(HIGH)
    assert pair.agreed[LOW] == pair.agreed[HIGH]


def test_a_static_key_that_gives_no_handshake_is_told_and_tried_again_later() -> None:
    rng = Random(1)
    party = Party(LOW, STATIC[LOW], 1, (PASSWORD,))
    pact = Pact(party, HIGH, bytes(32), rng=rng, entropy=rng.randbytes, now=0.0)
    assert pact.want(way(LOW), 1.0) == []
    assert "low order" in pact.failure
    assert pact.deadline() > 1.0


def test_each_direction_has_keys_of_its_own() -> None:
    pair = agreed()
    installed = {association.key for association in pair.kernels[LOW].installed}
    assert len(installed) == 2
    assert installed == {association.key for association in pair.kernels[HIGH].installed}


@pytest.mark.parametrize("seed", range(20))
def test_rekeying_loses_nothing_over_a_mesh_that_does(seed: int) -> None:
    pair = agreed(seed, loss=0.3, doubled=0.2, delay_s=0.4)
    before = len(pair.agreed[LOW])
    pair.run(3 * limits.REKEY_S, check=True)
    assert len(pair.agreed[LOW]) >= before + 2


def test_old_keys_go_after_the_grace() -> None:
    pair = agreed()
    pair.run(limits.REKEY_S)
    pair.run(MINUTE_S)
    assert {len(kernel.associations) for kernel in pair.kernels.values()} == {2}


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("end", [LOW, HIGH])
def test_a_restarted_end_gets_new_keys_while_the_old_ones_carry(seed: int, end: str) -> None:
    name = LOW if end == LOW else HIGH
    pair = agreed(seed, loss=0.2)
    before = len(pair.agreed[name])
    pair.start(name)
    pair.want(name)
    pair.run(MINUTE_S, check=True)
    assert len(pair.agreed[name]) > before


@pytest.mark.parametrize("end", [LOW, HIGH])
def test_a_rebooted_end_gets_new_keys_soon(end: str) -> None:
    name = LOW if end == LOW else HIGH
    pair = agreed()
    pair.start(name, reboot=True)
    pair.want(name)
    pair.run(2.0)
    assert pair.carries(LOW)
    assert pair.carries(HIGH)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("end", [LOW, HIGH])
def test_an_end_whose_state_was_restored_from_a_copy_gets_new_keys(seed: int, end: str) -> None:
    name = LOW if end == LOW else HIGH
    pair = Pair(seed, loss=0.2)
    for _ in range(8):
        pair.start(name)
    pair.want(LOW, HIGH)
    pair.run(MINUTE_S)
    for _ in range(2):
        before = len(pair.agreed[name])
        pair.start(name, lives_lost=4)
        pair.want(name)
        pair.run(MINUTE_S, check=True)
        assert len(pair.agreed[name]) > before


def test_what_a_stale_offer_is_told_is_no_agreement_and_says_nothing_of_another_offer() -> None:
    pair = agreed()
    pair.start(LOW, lives_lost=1)
    latest = pair.ends[LOW]._latest
    pair.ends[LOW]._latest = (latest[0], -1)
    offer = next(effect.payload for effect in pair.ends[LOW].tick(pair.now) if isinstance(effect, Send))
    told = [effect.payload for effect in pair.ends[HIGH].message(offer, pair.now) if isinstance(effect, Send)]
    assert [payload[0] for payload in told] == [wire.STALE]
    before = pair.ends[LOW].refused
    assert pair.ends[LOW].message(bytes([wire.ACCEPT]) + told[0][1:], pair.now) == []
    assert (pair.ends[LOW].current, pair.ends[LOW].refused) == (None, before + 1)
    pair.run(limits.MAX_OFFER_RETRY_S)
    raised = pair.ends[LOW]._latest
    pair.ends[LOW].message(told[0], pair.now)
    assert pair.ends[LOW]._latest == raised


def test_both_ends_restarted_at_once_agree() -> None:
    pair = agreed()
    for name in (LOW, HIGH):
        pair.start(name, reboot=True)
    pair.want(LOW, HIGH)
    pair.run(2.0, check=False)
    assert pair.carries(LOW)
    assert pair.carries(HIGH)


@pytest.mark.parametrize("name", [LOW, HIGH])
def test_worn_out_keys_are_replaced_from_either_end(name: str) -> None:
    pair = agreed()
    end = LOW if name == LOW else HIGH
    pair.perform(end, pair.ends[end].renew(pair.now))
    pair.run(2.0, check=True)
    assert len(pair.agreed[LOW]) == 2


def test_both_ends_renewing_at_once_still_lose_nothing() -> None:
    pair = agreed()
    for name in (LOW, HIGH):
        pair.perform(name, pair.ends[name].renew(pair.now))
    pair.run(MINUTE_S, check=True)
    assert pair.agreed[LOW] == pair.agreed[HIGH]


@given(seed=st.integers(0, 2**32), script=st.lists(st.tuples(
    st.sampled_from(["renew", "restart", "restore", "wait", "replay"]), st.sampled_from([LOW, HIGH])), max_size=8))
@settings(max_examples=30, deadline=None)
def test_whatever_happens_no_key_is_used_twice_and_traffic_flows_in_the_end(
        seed: int, script: list[tuple[str, str]]) -> None:
    pair = Pair(seed, loss=0.2, doubled=0.3)
    pair.want(LOW, HIGH)
    for what, end in script:
        name = LOW if end == LOW else HIGH
        if what == "renew":
            pair.perform(name, pair.ends[name].renew(pair.now))
        elif what == "restart":
            pair.start(name, reboot=pair.rng.random() < 0.5)
            pair.want(name)
        elif what == "restore":
            pair.start(name, reboot=pair.rng.random() < 0.5, lives_lost=3)
            pair.want(name)
        elif what == "replay":
            for sender, payload in list(pair.sent):
                if sender != name:
                    pair.perform(name, pair.ends[name].message(payload, pair.now))
        pair.run(3.0)
    pair.loss = 0.0
    for name in (LOW, HIGH):  # keys that only one end has are noticed by probes, which ask for others
        pair.perform(name, pair.ends[name].renew(pair.now))
    pair.run(3 * MINUTE_S)
    assert pair.carries(LOW)
    assert pair.carries(HIGH)
    assert len({association.key for association in pair.kernels[LOW].installed}) == len(pair.kernels[LOW].installed)


def test_passwords_that_differ_agree_on_nothing_and_say_so() -> None:
    pair = Pair(1, passwords={LOW: (PASSWORD,), HIGH: (OTHER_PASSWORD,)})
    pair.want(LOW, HIGH)
    pair.run(MINUTE_S)
    assert pair.agreed == {LOW: [], HIGH: []}
    assert "password" in pair.ends[LOW].failure


def test_a_password_is_changed_without_an_outage() -> None:
    pair = Pair(1, passwords={LOW: (PASSWORD, OTHER_PASSWORD), HIGH: (OTHER_PASSWORD, PASSWORD)})
    pair.want(LOW, HIGH)
    pair.run(1.0)
    epochs = [pair.ends[name].current for name in (LOW, HIGH)]
    assert [epoch and epoch.password_key for epoch in epochs] == [OTHER_PASSWORD, OTHER_PASSWORD]


def test_addresses_translated_on_the_way_leave_no_associations_but_a_reason() -> None:
    pair = Pair(1)
    pair.perform(LOW, pair.ends[LOW].want(way(LOW), 0.0))
    natted = Way(way(HIGH).own, way(LOW).own + 7)
    pair.perform(HIGH, pair.ends[HIGH].want(natted, 0.0))
    pair.run(MINUTE_S)
    assert not pair.kernels[LOW].installed
    assert "NAT" in (pair.ends[LOW].current or pair.ends[HIGH].current).why  # type: ignore[union-attr]


def test_without_ipsec_keys_are_agreed_all_the_same() -> None:
    pair = Pair(1)
    pair.run(1.0)
    assert pair.agreed[LOW]
    assert not pair.kernels[LOW].installed


def test_an_end_that_starts_to_want_ipsec_gets_it_when_the_other_does() -> None:
    pair = Pair(1)
    pair.run(1.0)
    pair.want(HIGH)
    pair.run(MINUTE_S)
    assert not pair.kernels[HIGH].installed
    pair.want(LOW)
    pair.run(2.0)
    assert pair.carries(LOW)
    assert pair.carries(HIGH)


def test_ipsec_given_up_leaves_nothing_and_later_comes_with_other_keys() -> None:
    pair = agreed()
    for name in (LOW, HIGH):
        pair.perform(name, pair.ends[name].want(None, pair.now))
    assert {len(kernel.associations) for kernel in pair.kernels.values()} == {0}
    pair.want(LOW, HIGH)
    pair.run(5.0)
    assert pair.carries(LOW)
    assert pair.carries(HIGH)


def test_a_third_peer_cannot_offer_in_anothers_name() -> None:
    pair = Pair(1)
    stranger = Pair(2)
    stranger.ends[LOW]._static_key = pair.ends[LOW]._static_key
    pair.ends[HIGH]._static_key = bytes(32)
    pair.run(1.0)
    assert pair.agreed[HIGH] == []
    assert pair.ends[HIGH].refused > 0


def test_an_offer_played_again_changes_nothing() -> None:
    pair = agreed()
    offers = [payload for _, payload in pair.sent if payload[0] == wire.OFFER]
    before = dict(pair.kernels[HIGH].associations)
    for offer in offers:
        pair.perform(HIGH, pair.ends[HIGH].message(offer, pair.now))
    assert pair.kernels[HIGH].associations == before
