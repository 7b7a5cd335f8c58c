"""Keys, features, the messages of keys and probes, and the gate."""

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave.errors import RemoteError
from weave.names import PeerName
from weave.net.crypt import keys, pact_messages, probe_messages
from weave.net.crypt.candidates import Claim, Mode, candidates, claim_of, features_of, read_features, why_not
from weave.net.crypt.capability import KernelAbility
from weave.net.crypt.gate import GATE_TABLE, gate_table
from weave.net.crypt.pact_messages import Terms, Way
from weave.net.crypt.probe_messages import Probe
from weave.net.guard import plan_table, transaction
from weave.wire import Plain, WireError, pack, unpack

ONE, TWO, SIX = ip_address("192.0.2.1"), ip_address("192.0.2.2"), ip_address("2001:db8::1")
SECRET = b"s" * 32
CLAIM = Claim(b"k" * 32, 6785, frozenset({4, 6}), 6786)
ABLE = KernelAbility("", "", "")
UNABLE = KernelAbility("no WireGuard here", "no ESP here", "no ESP over IPv6 here")


# Keys

def test_every_purpose_has_a_key_of_its_own() -> None:
    derived = [keys.wireguard_keys(SECRET).private, keys.pact_key(SECRET), keys.pair_key(SECRET, b"a" * 32, b"b" * 32),
               keys.confirm_key(SECRET), keys.probe_key(SECRET), keys.esp_key(SECRET, 256)[:32],
               keys.esp_key(SECRET, 257)[:32], SECRET]
    assert len(set(derived)) == len(derived)


@pytest.mark.parametrize("number", range(8))
def test_the_wireguard_key_is_as_the_kernel_gives_it_back(number: int) -> None:
    private = keys.wireguard_keys(bytes([number]) * 32).private
    assert private[0] & 0b111 == 0, "clamped (RFC 7748, section 5)"
    assert private[31] & 0b11000000 == 0b01000000, "clamped (RFC 7748, section 5)"


def test_a_pair_has_one_key_whichever_end_asks() -> None:
    assert keys.pair_key(SECRET, b"a" * 32, b"b" * 32) == keys.pair_key(SECRET, b"b" * 32, b"a" * 32)
    assert keys.pair_key(SECRET, b"a" * 32, b"b" * 32) != keys.pair_key(SECRET, b"a" * 32, b"c" * 32)
    assert keys.pair_key(SECRET, b"a" * 32, b"b" * 32) != keys.pair_key(b"t" * 32, b"a" * 32, b"b" * 32)


def test_each_peer_has_its_inner_address() -> None:
    assert str(keys.inner_address(PeerName("7a:9f:eb:b6:0c:6e"))) == "fd77:6561:7665::7a9f:ebb6:c6e"
    assert keys.inner_address(PeerName("ff:ff:ff:ff:ff:ff")) in keys.INNER_NETWORK


# What both can

@pytest.mark.parametrize("claim", [CLAIM, replace(CLAIM, esp=frozenset()), Claim(b"", 1, frozenset({6}), 6786)])
def test_a_claim_is_read_as_it_was_told(claim: Claim) -> None:
    read = read_features(unpack(pack({"encrypted": True, **features_of(claim)})))  # type: ignore[arg-type]
    assert (read.wireguard_key, read.esp, read.probe_port) == (claim.wireguard_key, claim.esp, claim.probe_port)


def test_a_kernel_without_any_of_it_claims_nothing() -> None:
    assert features_of(claim_of(UNABLE, b"k" * 32, 6785, 6786)) == {}
    assert read_features({"encrypted": True}) == Claim()


@pytest.mark.parametrize("features", [
    {"pp": 0}, {"pp": 1, "wg": b"short"}, {"pp": 1, "esp": [5, 5, 5]}, {"pp": 1, "wgp": 70000}, {"pp": "1"},
    {"pp": 1, "esp": [3]},
])
def test_features_that_make_no_sense_are_refused(features: dict[str, object]) -> None:
    with pytest.raises(WireError):
        read_features(features)


@given(st.builds(Claim, st.sampled_from([b"", b"k" * 32]), st.just(6785), st.frozensets(st.sampled_from([4, 6])),
                 st.just(6786)),
       st.builds(Claim, st.sampled_from([b"", b"o" * 32]), st.just(6785), st.frozensets(st.sampled_from([4, 6])),
                 st.just(6786)),
       st.sampled_from([4, 6]), st.booleans())
def test_both_ends_come_to_the_same_candidates(ours: Claim, theirs: Claim, version: int, translated: bool) -> None:
    found = candidates(ours, theirs, version, translated=translated)
    assert found == candidates(theirs, ours, version, translated=translated)
    assert list(found) == sorted(found)
    for mode in set(Mode) - set(found):
        assert why_not(mode, ours, theirs, version, UNABLE)


# Messages

TERMS = Terms(0x1234, Way(ONE, TWO), 3, 9, b"e" * 8, "")


@pytest.mark.parametrize("terms", [
    TERMS, Terms(), replace(TERMS, way=Way(SIX, SIX + 1)), replace(TERMS, why="x" * 200),
])
def test_terms_are_read_as_they_were_packed(terms: Terms) -> None:
    assert pact_messages.unpack_terms(pact_messages.pack_terms(terms)) == terms


@pytest.mark.parametrize("change", [
    {"spi": 5}, {"spi": 1 << 32}, {"from": b"odd"}, {"from": bytes(16)}, {"why": "\n"}, {"n": -1}, {"cur": bytes(9)},
])
def test_terms_that_make_no_sense_are_refused(change: dict[str, object]) -> None:
    body = {**unpack(pact_messages.pack_terms(TERMS)), **change}  # type: ignore[dict-item]
    with pytest.raises(RemoteError):
        pact_messages.unpack_terms(pack(body))  # type: ignore[arg-type]


@pytest.mark.parametrize("floor", [None, 1, [], [1], [1, 2, 3], [-1, 1], [1 << 32, 1], [1, (1 << 48) - 1], [1, "1"]])
def test_a_floor_that_makes_no_sense_or_that_nothing_is_above_is_refused(floor: Plain) -> None:
    assert pact_messages.unpack_floor(pact_messages.pack_floor((9, 120))) == (9, 120)
    with pytest.raises(RemoteError):
        pact_messages.unpack_floor(pack({"floor": floor}))
    with pytest.raises(RemoteError):
        pact_messages.unpack_floor(pact_messages.pack_terms(TERMS))


def test_a_message_cut_off_anywhere_is_refused_or_harmless() -> None:
    whole = pact_messages.encode(pact_messages.ACCEPT, b"i" * 8, b"body")
    for size in range(10):
        with pytest.raises(WireError):
            pact_messages.decode(whole[:size])
    assert pact_messages.decode(whole).body == b"body"


def test_ways_fit_when_each_end_sees_the_other_as_it_sees_itself() -> None:
    assert Way(ONE, TWO).fits(Way(TWO, ONE))
    assert not Way(ONE, TWO).fits(Way(TWO, SIX))
    assert not Way(ONE, TWO).fits(None)


PROBE = Probe(probe_messages.ASK, Mode.IPSEC, True, b"e" * 8, b"t" * 8)


def test_a_probe_is_read_as_it_was_made_and_only_its_key_fits() -> None:
    data = probe_messages.encode(PROBE, SECRET, 1300)
    assert len(data) == 1300
    assert probe_messages.decode(data) == PROBE
    assert probe_messages.is_genuine(data, SECRET)
    assert not probe_messages.is_genuine(data, b"t" * 32)


@given(st.integers(0, probe_messages.PROBE_BYTES - 1), st.integers(1, 255))
def test_a_changed_probe_is_not_genuine(place: int, change: int) -> None:
    data = bytearray(probe_messages.encode(PROBE, SECRET))
    data[place] ^= change
    assert not probe_messages.is_genuine(bytes(data), SECRET)


@pytest.mark.parametrize("data", [b"", bytes(35), bytes(36), b"\3" + bytes(40)])
def test_what_is_no_probe_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        probe_messages.decode(data)


# The gate

def test_the_gate_knows_who_gets_what() -> None:
    table = gate_table([ONE, SIX], [TWO], port=6784, probe_port=6786)
    assert table.sets == {"plain4": {ONE}, "plain6": {SIX}, "esp4": {TWO}, "esp6": frozenset()}
    assert plan_table(GATE_TABLE, table, table.shape) == []


def test_an_esp_peer_is_never_let_through_in_plain() -> None:
    table = gate_table([ONE, TWO], [TWO], port=6784, probe_port=6786)
    assert TWO not in table.sets["plain4"]


def test_the_last_rule_out_drops_all_other_vxlan_and_probes() -> None:
    rules = [rule for rule in gate_table([], [], port=6784, probe_port=6786).rules if rule.chain == "output"]
    last = rules[-1]
    assert last.comment.startswith("VXLAN and probes in the clear")
    assert [word["match"]["right"] for word in last.expression if "match" in word] == [{"set": [6784, 6786]}]
    assert last.expression[-1] == {"drop": None}


def test_a_change_of_peers_changes_elements_only() -> None:
    before = gate_table([ONE], [], port=6784, probe_port=6786)
    after = gate_table([ONE], [TWO], port=6784, probe_port=6786)
    assert len(plan_table(GATE_TABLE, after, before.shape)) == 1
    assert b"esp4" in transaction(plan_table(GATE_TABLE, after, before.shape))


def test_the_overhead_is_that_of_the_tunnel_that_adds_most() -> None:
    esp, esp_over_ipv4 = KernelAbility("no", "", ""), KernelAbility("no", "", "no")
    assert [ability.overhead for ability in (ABLE, esp, esp_over_ipv4, UNABLE)] == [100, 60, 40, 0]


def test_the_gate_names_no_protocol_for_a_host_without_etc_protocols_could_not_find_it():
    matches = [word["match"] for rule in gate_table([], [], port=6784, probe_port=6786).rules
               for word in rule.expression if "match" in word]
    assert [match["right"] for match in matches if match["left"] == {"meta": {"key": "l4proto"}}] == [58]
