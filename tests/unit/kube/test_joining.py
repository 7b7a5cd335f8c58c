"""How nodes come to their place: single decisions, then whole clusters that start in every order."""

from dataclasses import replace
from random import Random

import pytest

from weave.kube import limits
from weave.kube.joining import Hold, Note, Refuse, Situation, Start, StepBack, Write, decide
from weave.kube.membership import admit, claim, found, seal

RANGE = "10.32.0.0/12"
FRESH = Note("", (), RANGE, "")


def record_of(*peers, sealed=True, birth="b"):
    record = found(birth, RANGE)
    for peer in peers:
        record = admit(record, peer, f"n{peer}")
    return seal(record, {f"n{peer}" for peer in peers}) if sealed else record


def situation(**changes):
    base = Situation("p", "np", RANGE, FRESH, None, {"np"}, frozenset(), has_registered=False, waited_s=0.0,
                     fresh_birth="new")
    return replace(base, **changes)


def member_note(record):
    return Note("p", record.seed, RANGE, record.birth)


def test_first_node_begins_the_record_then_divides_then_starts():
    first = decide(situation())
    assert isinstance(first, Write)
    assert first.registers
    second = decide(situation(record=first.record, has_registered=True))
    assert second == Write(seal(first.record, {"np"}), registers=False)
    assert decide(situation(record=second.record, has_registered=True)) == Start(("p",))


def test_nodes_wait_for_each_other_but_not_for_long():
    record = record_of("p", sealed=False)
    here = situation(record=record, nodes={"np", "nq"}, has_registered=True)
    assert isinstance(decide(here), Hold)
    assert decide(replace(here, waited_s=limits.GATHER_S)) == Write(seal(record, {"np"}), registers=False)


def test_later_node_joins_the_division_of_the_first():
    record = record_of("q")
    joined = decide(situation(record=record))
    assert joined == Write(admit(record, "p", "np"), registers=True)
    assert decide(situation(record=joined.record, has_registered=True)) == Start(("q",))


def test_restart_is_entered_before_the_router_starts():
    record = record_of("p", "q")
    assert isinstance(decide(situation(record=record, note=member_note(record))), Write)


def test_node_that_was_removed_steps_back():
    record = record_of("p", "q")
    for gone in (claim(record, "p", "q"), replace(record, members={})):
        assert isinstance(decide(situation(record=gone, note=member_note(record))), StepBack)


def test_node_that_was_removed_while_it_started_steps_back():
    record = record_of("p", "q")
    gone = claim(record, "p", "q")
    assert isinstance(decide(situation(record=gone, has_registered=True)), StepBack)


def test_first_divider_that_never_started_and_was_removed_steps_back():
    record = replace(record_of("p", "q"), members={})
    assert isinstance(decide(situation(record=record)), StepBack)


def test_node_of_another_ring_steps_back():
    record = record_of("q")
    assert isinstance(decide(situation(record=record, note=Note("p", ("p",), RANGE, "other"))), StepBack)


def test_lost_record_is_restored_from_the_note():
    old = record_of("p", "q")
    restored = decide(situation(note=member_note(old), ring_holders={"nq"}))
    assert restored.record.seed == old.seed
    assert decide(situation(record=restored.record, note=member_note(old), has_registered=True)) == Start(old.seed)


def test_member_joins_a_record_that_another_restored():
    old = record_of("p", "q")
    restored = replace(old, birth="restored", members={"q": old.members["q"]})
    expected = Write(admit(restored, "p", "np"), registers=True)
    assert decide(situation(record=restored, note=member_note(old))) == expected


def test_new_node_begins_no_second_ring_while_others_run():
    assert isinstance(decide(situation(ring_holders={"nq"})), Hold)


def test_another_range_is_for_a_person_to_decide():
    assert isinstance(decide(situation(record=record_of("q"), range="10.40.0.0/16")), Refuse)


@pytest.mark.parametrize("seed", range(100))
def test_one_ring_however_nodes_start_and_crash(seed):
    """Nodes take single steps in any order, on records that are as old as the last read; some begin anew midway."""
    rng = Random(seed)
    count = rng.randint(1, 6)
    names = [f"{number}" for number in range(count)]
    shared = {"record": None, "version": 0}
    state = {name: {"read": None, "registered": False, "seed": None, "clock": 0.0} for name in names}
    for _ in range(60 * count):
        name = rng.choice(names)
        mine = state[name]
        what = rng.choice(["read"] if mine["seed"] else ["read", "act", "act", "crash"])
        if what == "crash":
            mine.update(read=None, registered=False, clock=0.0)
        elif what == "read" or mine["read"] is None:
            mine["read"] = (shared["record"], shared["version"])
            mine["clock"] += 1.0
        else:
            record, version = mine["read"]
            verdict = decide(Situation(name, f"n{name}", RANGE, FRESH, record, {f"n{each}" for each in names}, set(),
                                       mine["registered"], mine["clock"], f"b{name}"))
            if isinstance(verdict, Write) and version == shared["version"]:
                shared.update(record=verdict.record, version=version + 1)
                mine["registered"] |= verdict.registers
            elif isinstance(verdict, Start):
                mine["seed"] = verdict.seed
            mine["read"] = None
    assert len({mine["seed"] for mine in state.values() if mine["seed"]}) <= 1


@pytest.mark.parametrize("peers", [1, 2, 5])
def test_nodes_that_start_together_all_come_to_run(peers):
    names = [f"{number}" for number in range(peers)]
    record, seeds, registered, clock = None, {}, set(), 0.0
    while len(seeds) < peers and clock < 100:
        for name in names:
            verdict = decide(Situation(name, f"n{name}", RANGE, FRESH, record, {f"n{each}" for each in names}, set(),
                                       name in registered, clock, "b"))
            match verdict:
                case Write(written, registers):
                    record = written
                    registered |= {name} if registers else set()
                case Start(seed):
                    seeds[name] = seed
        clock += 1.0
    assert set(seeds.values()) == {tuple(names)}
