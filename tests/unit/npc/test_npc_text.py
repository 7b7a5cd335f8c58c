"""Rulesets in the words of nft."""

from ipaddress import ip_address, ip_network

import pytest

from weave.errors import LocalError
from weave.npc.blocks import ranges_of, text_of
from weave.npc.model import BlockPeer, Direction, Protocol
from weave.npc.nft_text import full_text, rule_text, without_reports
from weave.npc.options import parse_options
from weave.npc.ruleset import (
    Accept,
    Chain,
    Drop,
    End,
    InSet,
    Itself,
    Match,
    Rule,
    Ruleset,
    Tell,
    ToNamed,
    ToPorts,
    ToPortSet,
)

MATCHES: list[tuple[Match, int, str]] = [
    (InSet(End.SOURCE, "s"), 4, "ct original ip saddr @s accept"),
    (InSet(End.DESTINATION, "s"), 6, "ct reply ip6 saddr @s accept"),
    (ToPorts(Protocol.TCP, None), 4, "meta l4proto tcp accept"),
    (ToPorts(Protocol.UDP, (53, 53)), 4, "meta l4proto udp ct reply proto-src 53 accept"),
    (ToPorts(Protocol.SCTP, (1, 9)), 4, "meta l4proto sctp ct reply proto-src 1-9 accept"),
    (ToPortSet(Protocol.TCP, "p"), 4, "meta l4proto tcp ct reply proto-src @p accept"),
    (ToNamed(Protocol.TCP, "n"), 4, "meta l4proto tcp ct reply ip saddr . ct reply proto-src @n accept"),
    (Itself(), 4, "ct original ip saddr . ct reply ip saddr @itself4 accept"),
]


@pytest.mark.parametrize(("match", "family", "words"), MATCHES, ids=lambda value: type(value).__name__)
def test_matches_ask_how_the_connection_began(match: Match, family: int, words: str) -> None:
    assert rule_text(Rule((match,), Accept()), family) == words


def test_names_from_outside_cannot_leave_their_comment() -> None:
    text = rule_text(Rule((), Accept(), 'a" drop; flush ruleset; \n\\'), 4)
    assert text == 'accept comment "a? drop? flush ruleset? ??"'
    assert len(rule_text(Rule((), Accept(), "x" * 5000), 4)) < 128


def test_refusals_are_told_at_a_bounded_rate_and_counted() -> None:
    assert "limit rate" in rule_text(Rule((), Tell("tag")), 4)
    assert rule_text(Rule((), Drop(Direction.EGRESS)), 4) == "counter name refused-egress drop"


def test_multicast_is_open_or_closed_as_a_whole() -> None:
    opened = full_text(Ruleset(), bridge="weave", ports="vethwe", multicast=True)
    closed = full_text(Ruleset(), bridge="weave", ports="vethwe", multicast=False)
    assert 'iifname "weave" ip daddr 224.0.0.0/4 accept' in opened
    assert 'iifname "weave" ip daddr 224.0.0.0/4 counter name strays drop' in closed
    assert "255.255.255.255" not in closed


@pytest.mark.parametrize(("block", "excepts", "ranges"), [
    ("10.0.0.0/8", [], ["10.0.0.0-10.255.255.255"]),
    ("10.0.0.0/30", ["10.0.0.1/32"], ["10.0.0.0", "10.0.0.2-10.0.0.3"]),
    ("10.0.0.0/30", ["10.0.0.2/31", "10.0.0.0/31"], []),
    ("10.0.0.0/30", ["10.0.0.0/8"], []),
    ("10.0.0.0/31", ["10.0.0.4/30", "fd00::/8"], ["10.0.0.0-10.0.0.1"]),
    ("fd00::/127", [], ["fd00::-fd00::1"]),
])
def test_a_block_is_what_its_exceptions_leave(block: str, excepts: list[str], ranges: list[str]) -> None:
    assert list(ranges_of(BlockPeer(ip_network(block), tuple(map(ip_network, excepts))))) == ranges


def test_the_scope_of_an_address_is_left_out() -> None:
    assert text_of(ip_address('fe80::1%"; drop')) == "fe80::1"


def test_options_come_from_words_and_environment() -> None:
    settings = parse_options(["--policy-dir", "/p", "--no-allow-multicast"], {"WEAVE_SOCKET": "/s", "NODE_NAME": "n1"})
    assert (str(settings.policy_dir), str(settings.socket), settings.node_name, settings.multicast) \
        == ("/p", "/s", "n1", False)
    assert settings.metrics == ("127.0.0.1", 6781)
    assert parse_options(["--metrics-addr", "[::1]:1"], {}).metrics == ("::1", 1)
    assert parse_options(["--metrics-addr", "off"], {}).metrics is None


@pytest.mark.parametrize("words", [["--metrics-addr", "x"], ["--metrics-addr", "127.0.0.1:99999"],
                                   ["--log-level", "loud"], ["--bridge", "a b"], ["--bridge", "x" * 16]])
def test_options_that_make_no_sense_are_refused(words: list[str]) -> None:
    with pytest.raises(LocalError):
        parse_options(words, {})


def test_a_kernel_without_reports_gets_the_same_rules_without_them() -> None:
    chain = Chain(4, (Rule((), Tell("tag")), Rule((), Drop(Direction.EGRESS))))
    assert without_reports(Ruleset(chains={"refuse": chain})).chains == {
        "refuse": Chain(4, (Rule((), Drop(Direction.EGRESS)),))}
