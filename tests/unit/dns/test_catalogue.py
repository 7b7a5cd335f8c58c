from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.unit.dns.support import GONE, ME, OTHER, RANGES, register, small_catalogue
from weave.dns import Catalogue, NameEntry, encode_name_entry, rtypes
from weave.dns.finding import Finding, Outcome
from weave.dns.labels import labels_of, reverse_of
from weave.errors import LocalError
from weave.names import PeerName


def look(catalogue: Catalogue, name: str, qtype: int = rtypes.A) -> Finding:
    return catalogue.lookup(labels_of(name), qtype)


def test_add_changes_nothing_until_it_comes_back_as_an_entry() -> None:
    catalogue = Catalogue(me=ME)
    key, value = catalogue.add("abc", "c1", ip_address("10.32.0.1"))
    assert look(catalogue, "c1.weave.local").outcome is Outcome.NXDOMAIN
    catalogue.entries_changed([(ME, key, value)])
    assert catalogue.addresses("c1") == [ip_address("10.32.0.1")]
    catalogue.entries_changed([(ME, key, None)])
    assert look(catalogue, "c1.weave.local").outcome is Outcome.NXDOMAIN
    assert catalogue.entries() == []


@pytest.mark.parametrize(("container", "fqdn", "address", "left"), [
    (None, None, None, []),
    ("a", None, None, ["x b", "y b"]),
    (None, "X", None, ["y a", "y b"]),
    ("a", "x.weave.local.", None, ["x b", "y a", "y b"]),
    (None, None, "10.32.0.1", ["x b", "y b"]),
    ("a", "y", "10.32.0.2", ["x a", "x b", "y a", "y b"]),
    ("nobody", None, None, ["x a", "x b", "y a", "y b"]),
])
def test_remove_returns_our_keys_that_match_everything_given(
    container: str | None, fqdn: str | None, address: str | None, left: list[str]
) -> None:
    catalogue = Catalogue(me=ME)
    for owner in (ME, OTHER):
        for name in ("x", "y"):
            register(catalogue, owner, name, "10.32.0.1", "a")
            register(catalogue, owner, name, "10.32.0.2", "b")
    keys = catalogue.remove(container, fqdn, None if address is None else ip_address(address))
    assert keys == sorted(keys)
    catalogue.entries_changed([(ME, key, None) for key in keys])
    rows = [row for row in catalogue.entries() if row.origin == ME]
    assert [f"{row.fqdn[0]} {row.container}" for row in rows] == left
    assert sum(row.origin == OTHER for row in catalogue.entries()) == 4


def test_bad_registrations_are_told_to_the_caller() -> None:
    for fqdn, address in (("c1.example.com", "10.32.0.1"), ("c1", "0.0.0.0")):
        with pytest.raises(LocalError):
            Catalogue(me=ME).add("abc", fqdn, ip_address(address))
    with pytest.raises(LocalError):
        Catalogue(me=ME).remove(None, "c1.example.com", None)
    assert Catalogue(me=ME).addresses("c1.example.com") == []


def test_bad_entries_are_counted_and_replace_what_they_overwrite() -> None:
    catalogue = Catalogue(me=ME)
    key, value = encode_name_entry(NameEntry("c1.weave.local.", ip_address("10.32.0.1"), ""))
    foreign = encode_name_entry(NameEntry("c1.example.com.", ip_address("10.32.0.1"), ""))
    apex = encode_name_entry(NameEntry("weave.local.", ip_address("10.32.0.1"), ""))
    catalogue.entries_changed([(OTHER, key, value), (OTHER, *foreign), (OTHER, *apex), (OTHER, b"n", b"\xc1")])
    assert catalogue.refused == {"outside our domain": 2, "malformed": 1}
    catalogue.entries_changed([(OTHER, key, b"\xc1")])
    assert catalogue.entries() == []


def test_one_address_registered_twice_is_answered_once() -> None:
    catalogue = Catalogue(me=ME)
    register(catalogue, ME, "c1", "10.32.0.1", "a")
    register(catalogue, ME, "c1", "10.32.0.1", "b")
    assert len(look(catalogue, "c1.weave.local").rdatas) == 1


def test_reachability_withholds_addresses_but_not_names() -> None:
    catalogue = small_catalogue()
    assert look(catalogue, "gone.weave.local").outcome is Outcome.NODATA
    unreachable = [row.fqdn for row in catalogue.entries() if not row.is_reachable]
    assert unreachable == ["gone.weave.local.", "many.weave.local."]
    before = catalogue.generation
    catalogue.reachable(frozenset((OTHER, ME)))
    assert catalogue.generation == before
    catalogue.reachable(frozenset((GONE,)))
    assert catalogue.generation > before
    assert catalogue.addresses("gone") == [ip_address("10.33.0.5")]
    assert catalogue.addresses("c1") == [ip_address("10.32.0.1"), ip_address("fd00:32::1")]


def test_names_of_an_address_are_all_of_them() -> None:
    catalogue = Catalogue(me=ME, ranges=RANGES)
    for name in ("b", "a"):
        register(catalogue, ME, name, "10.32.0.1")
    assert catalogue.names(ip_address("10.32.0.1")) == ["a.weave.local.", "b.weave.local."]
    assert len(look(catalogue, "1.0.32.10.in-addr.arpa", rtypes.PTR).rdatas) == 2


def test_a_range_smaller_than_an_octet_leaves_its_neighbours_alone() -> None:
    catalogue = Catalogue(me=ME, ranges=[ip_network("192.0.2.64/26")])
    assert look(catalogue, "64.2.0.192.in-addr.arpa", rtypes.PTR).outcome is Outcome.NODATA
    assert look(catalogue, "63.2.0.192.in-addr.arpa", rtypes.PTR).outcome is Outcome.FOREIGN
    assert look(catalogue, "128.2.0.192.in-addr.arpa", rtypes.PTR).outcome is Outcome.FOREIGN
    assert look(catalogue, "2.0.192.in-addr.arpa", rtypes.PTR).outcome is Outcome.FOREIGN


def test_the_domain_can_be_another() -> None:
    catalogue = Catalogue(me=ME, domain="Net.Example")
    register(catalogue, ME, "c1", "10.32.0.1")
    assert catalogue.domain == "net.example."
    assert look(catalogue, "c1.net.example").outcome is Outcome.RECORDS
    assert look(catalogue, "example").outcome is Outcome.FOREIGN


@pytest.mark.parametrize("domain", ["", ".", "we ave.", "a..b", "-a.", "a" * 64])
def test_a_domain_that_is_none_is_refused(domain: str) -> None:
    with pytest.raises(LocalError, match="domain"):
        Catalogue(me=ME, domain=domain)


@given(st.lists(st.binary(min_size=1, max_size=63), max_size=8), st.integers(0, 65535))
def test_lookup_judges_every_name(labels: list[bytes], qtype: int) -> None:
    catalogue = small_catalogue()
    name = tuple(label.lower() for label in labels)
    for suffix in ((), catalogue.apex, (b"in-addr", b"arpa"), (b"32", b"10", b"in-addr", b"arpa"), (b"ip6", b"arpa")):
        finding = catalogue.lookup(name + suffix, qtype)
        assert bool(finding.rdatas) == (finding.outcome is Outcome.RECORDS)
        assert name + suffix == () or finding.zone == (name + suffix)[-len(finding.zone):] or not finding.zone


class CatalogueMachine(RuleBasedStateMachine):
    """The catalogue against a plain set of registrations."""

    peers = st.sampled_from([ME, OTHER, GONE])
    names = st.sampled_from(["a", "b", "x.a", "y.x.a"])
    numbers = st.integers(1, 3)

    def __init__(self) -> None:
        super().__init__()
        self.catalogue = Catalogue(me=ME, ranges=RANGES)
        self.model: set[tuple[PeerName, str, int]] = set()
        self.reachable: frozenset[PeerName] = frozenset((ME,))

    def _entry(self, name: str, number: int) -> tuple[bytes, bytes]:
        return self.catalogue.add("", f"{name}.weave.local.", ip_address(f"10.32.0.{number}"))

    @rule(owner=peers, name=names, number=numbers)
    def publish(self, owner: PeerName, name: str, number: int) -> None:
        self.catalogue.entries_changed([(owner, *self._entry(name, number))])
        self.model.add((owner, name, number))

    @rule(owner=peers, name=names, number=numbers)
    def withdraw(self, owner: PeerName, name: str, number: int) -> None:
        self.catalogue.entries_changed([(owner, self._entry(name, number)[0], None)])
        self.model.discard((owner, name, number))

    @rule(peers=st.frozensets(peers))
    def change_reachability(self, peers: frozenset[PeerName]) -> None:
        self.catalogue.reachable(peers)
        self.reachable = peers | {ME}

    @invariant()
    def names_resolve_as_the_model_says(self) -> None:
        for name in ("a", "b", "x.a", "y.x.a", "z"):
            live = {n for owner, known, n in self.model if known == name and owner in self.reachable}
            exists = any(known == name or known.endswith("." + name) for _, known, _ in self.model)
            finding = self.catalogue.lookup(labels_of(name + ".weave.local"), rtypes.A)
            assert {rdata[-1] for rdata in finding.rdatas} == live
            expected = Outcome.RECORDS if live else Outcome.NODATA if exists else Outcome.NXDOMAIN
            assert finding.outcome is expected

    @invariant()
    def addresses_resolve_as_the_model_says(self) -> None:
        for number in (1, 2, 3):
            address = ip_address(f"10.32.0.{number}")
            live = {name for owner, name, n in self.model if n == number and owner in self.reachable}
            assert self.catalogue.names(address) == sorted(f"{name}.weave.local." for name in live)
            exists = any(n == number for _, _, n in self.model)
            outcome = self.catalogue.lookup(reverse_of(address), rtypes.A).outcome
            assert outcome is (Outcome.NODATA if exists else Outcome.NXDOMAIN)

    @invariant()
    def nothing_is_left_behind(self) -> None:
        if not self.model:
            assert not self.catalogue._nodes
            assert not self.catalogue._below


TestCatalogue = CatalogueMachine.TestCase
TestCatalogue.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
