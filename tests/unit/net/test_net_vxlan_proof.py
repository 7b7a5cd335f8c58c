"""Plain VXLAN is used until probes say that it does not get through, and again when both ends have proven it."""

import random
from collections.abc import Callable
from ipaddress import ip_address
from math import inf

import pytest

from weave.names import PeerName
from weave.net.limits import VXLAN_HOPE_S
from weave.net.vxlan_probe import ANSWER, ASK, Probe, decode, encode
from weave.net.vxlan_proof import Emit, VxlanProof, VxlanWay
from weave.wire import WireError

A, B = PeerName("02:00:00:00:00:0a"), PeerName("02:00:00:00:00:0b")
ADDRESS = {A: ip_address("192.0.2.1"), B: ip_address("192.0.2.2")}
OTHER = {A: B, B: A}
VNI, MTU = 6784, 1450
SETTLED_S, LEFT_S, RETURNED_S, LONGEST_PAUSE_S = 15.0, 15.0, 40.0, 150.0
VXLAN_BYTES, ETHERNET_BYTES, SMALL = 8, 14, 200

Passes = Callable[[PeerName, bytes], bool]


def everything(_source: PeerName, _datagram: bytes) -> bool:
    return True


def nothing(_source: PeerName, _datagram: bytes) -> bool:
    return False


def small(_source: PeerName, datagram: bytes) -> bool:
    return len(datagram) < SMALL


def large_from_b(source: PeerName, datagram: bytes) -> bool:
    return source == B or len(datagram) < SMALL


def only_from_a(source: PeerName, _datagram: bytes) -> bool:
    return source == A


def only_from_b(source: PeerName, _datagram: bytes) -> bool:
    return source == B


class Hosts:
    """Two hosts and what is between them, under a clock of their own."""

    def __init__(self, *, doubted: bool = False) -> None:
        self.now = 0.0
        self.passes: Passes = everything
        dice = random.Random(1)
        self.proofs = {name: VxlanProof(name, VNI, dice.randbytes) for name in (A, B)}
        for name, proof in self.proofs.items():
            proof.mtu = MTU
            if doubted:
                proof.doubt([OTHER[name]])
            self.want(name)

    def want(self, name: PeerName, *, reachable: bool = True) -> None:
        way = VxlanWay(ADDRESS[OTHER[name]], reachable)
        self.carry(name, self.proofs[name].want({OTHER[name]: way}, self.now))

    def carry(self, source: PeerName, emits: list[Emit]) -> None:
        for emit in emits:
            assert emit.address == ADDRESS[OTHER[source]]
            if self.passes(source, emit.datagram):
                target = OTHER[source]
                self.carry(target, self.proofs[target].frame(emit.datagram[VXLAN_BYTES:], self.now))

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        while (due := min(proof.deadline() for proof in self.proofs.values())) <= until:
            self.now = max(self.now, due)
            for name, proof in self.proofs.items():
                self.carry(name, proof.tick(self.now))
        self.now = until

    def broken(self) -> set[PeerName]:
        """Return the hosts that do not use VXLAN."""
        return {name for name, proof in self.proofs.items() if proof.broken}


def test_it_is_used_at_once_and_stays() -> None:
    hosts = Hosts()
    assert hosts.broken() == set()
    hosts.run(1000.0)
    assert hosts.broken() == set()


def test_a_host_that_is_held_up_from_the_start_goes_on_hoping() -> None:
    proof = VxlanProof(A, VNI, random.Random(1).randbytes)
    proof.want({B: VxlanWay(ADDRESS[B], reachable=True)}, 0.0)
    for stalled_until in (20.0, 40.0, 60.0):
        proof.tick(stalled_until)
    assert not proof.broken


@pytest.mark.parametrize(("passes", "says"), [
    (nothing, "no longer answered"), (small, "large packets vanish"), (large_from_b, "large packets vanish"),
    (only_from_a, "no longer answered"),
])
def test_both_leave_what_does_not_get_through_and_return(passes: Passes, says: str) -> None:
    hosts = Hosts()
    hosts.run(SETTLED_S)
    hosts.passes = passes
    hosts.run(LEFT_S + (15.0 if "large" in says else 0.0))
    assert hosts.broken() == {A, B}
    assert says in hosts.proofs[A].broken[B]
    hosts.passes = everything
    hosts.run(RETURNED_S)
    assert hosts.broken() == set()


def losing(share: float, seed: int) -> Passes:
    dice = random.Random(seed)
    return lambda _source, _datagram: dice.random() >= share


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.3, 0.5])
def test_both_leave_a_way_that_loses_many_for_as_long_as_it_does(share: float, seed: int) -> None:
    hosts = Hosts()
    hosts.run(SETTLED_S)
    hosts.passes = losing(share, seed)
    used_s = 0.0
    for _ in range(600):
        hosts.run(1.0)
        used_s += len(hosts.broken()) < 2
    assert used_s < 120.0
    hosts.passes = everything
    hosts.run(LONGEST_PAUSE_S)
    assert hosts.broken() == set()


@pytest.mark.parametrize("seed", range(5))
def test_a_way_that_loses_little_is_kept(seed: int) -> None:
    hosts = Hosts()
    hosts.run(SETTLED_S)
    hosts.passes = losing(0.02, seed)
    for _ in range(600):
        hosts.run(1.0)
        assert hosts.broken() == set()


@pytest.mark.parametrize("is_missed", [True, False])
def test_a_router_that_begins_anew_is_given_the_time_to_prove_it(*, is_missed: bool) -> None:
    hosts = Hosts()
    hosts.run(SETTLED_S)
    if is_missed:
        hosts.want(A, reachable=False)
        hosts.run(3.0)
    proof = hosts.proofs[B] = VxlanProof(B, VNI, random.Random(2).randbytes)
    proof.mtu = MTU
    hosts.passes = only_from_b  # which is too busy yet to read what comes
    hosts.want(A)
    hosts.want(B)
    broken = []
    for tenth in range(200):
        hosts.passes = only_from_b if tenth < 20 else everything
        hosts.run(0.1)
        broken.append(hosts.broken())
    assert broken == [set()] * 200


@pytest.mark.parametrize("passes", [nothing, small, large_from_b, only_from_a])
def test_what_never_got_through_is_left_by_both(passes: Passes) -> None:
    hosts = Hosts()
    hosts.passes = passes
    hosts.run(VXLAN_HOPE_S + 1.0)
    assert hosts.broken() == {A, B}


def test_what_did_not_work_in_an_earlier_life_is_not_used_before_it_is_proven() -> None:
    hosts = Hosts(doubted=True)
    hosts.passes = nothing
    assert hosts.broken() == {A, B}
    hosts.run(5.0)
    assert hosts.broken() == {A, B}
    hosts.passes = everything
    hosts.run(RETURNED_S)
    assert hosts.broken() == set()


def test_probes_are_not_missed_while_the_other_router_is_away() -> None:
    hosts = Hosts()
    hosts.run(SETTLED_S)
    hosts.passes = nothing
    hosts.want(A, reachable=False)
    hosts.run(1000.0)
    assert A not in hosts.broken()
    hosts.passes = everything
    hosts.want(A)
    hosts.run(5.0)
    assert A not in hosts.broken()


def test_a_peer_that_is_not_wanted_is_not_probed_and_not_answered() -> None:
    hosts = Hosts()
    hosts.run(SETTLED_S)
    proof = hosts.proofs[A]
    assert proof.want({}, hosts.now) == []
    assert (proof.deadline(), proof.broken) == (inf, {})
    probe = encode(Probe(ASK, proven=True, token=b"t" * 8), A, B, vni=VNI)
    assert proof.frame(probe[VXLAN_BYTES:], hosts.now) == []
    assert proof.refused == 1


def test_with_many_peers_each_is_probed_less_often() -> None:
    proof = VxlanProof(A, VNI, random.Random(1).randbytes)
    peers = [PeerName(f"02:00:00:00:01:{number:02x}") for number in range(80)]
    proof.want({peer: VxlanWay(ADDRESS[B], reachable=True) for peer in peers}, 0.0)
    assert {proof._peers[peer].track.pace for peer in peers} == {40.0}


def test_a_way_is_probed_at_once_when_the_connection_beside_it_breaks() -> None:
    hosts = Hosts()
    proof, way = hosts.proofs[A], VxlanWay(ADDRESS[B], reachable=True, connected=True)
    proof.want({B: way}, 0.0)
    hosts.run(SETTLED_S)
    hosts.now += 0.1
    assert proof.want({B: way}, hosts.now) == []
    [emit] = proof.want({B: VxlanWay(ADDRESS[B], reachable=True)}, hosts.now)
    assert emit.peer == B


def test_a_probe_travels_as_vxlan_does() -> None:
    probe = Probe(ANSWER, proven=True, token=b"12345678")
    data = encode(probe, B, A, vni=VNI, packet=MTU)
    assert data[:VXLAN_BYTES].hex() == "08000000001a8000"
    assert len(data) == VXLAN_BYTES + ETHERNET_BYTES + MTU
    assert data[VXLAN_BYTES:][:12].hex() == "02000000000b02000000000a"
    assert decode(data[VXLAN_BYTES:]) == (A, probe)


@pytest.mark.parametrize("frame", [b"", bytes(23), bytes(24), bytes(60), bytes(12) + b"\x88\xb5\3" + bytes(20)])
def test_anything_else_is_no_probe(frame: bytes) -> None:
    with pytest.raises(WireError):
        decode(frame)
