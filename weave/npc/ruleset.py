"""The rules of this host as data: what the kernel shall hold, in a form that can be compared, printed and interpreted.

    table inet weave-npc
      base chains            a packet's connection is looked up in the map of its source (egress), then of its
        egress4/6 ──┐        destination (ingress); who is in neither is free
        ingress4/6 ─┴─► profile ──► tier Admin ──► policies ──► refuse, or tier Baseline

A profile is the ordered set of policies that govern a pod in one direction: pods that are governed alike share it.
Everything below the maps is named by a digest of what it says, so what has the same name is the same, and what changes
gets a new name beside the old one. Elements are texts as nft writes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from hashlib import blake2s

from weave.npc.model import Direction, Protocol

DIGEST_BYTES = 8
"""Names of one host: even a million of them collide with a chance of one in 30 million."""


class Kind(Enum):
    """What a set holds; the value is what nft calls its type."""

    IPV4 = "ipv4_addr"
    IPV6 = "ipv6_addr"
    IPV4_PAIR = "ipv4_addr . ipv4_addr"
    IPV6_PAIR = "ipv6_addr . ipv6_addr"
    IPV4_PORT = "ipv4_addr . inet_service"
    IPV6_PORT = "ipv6_addr . inet_service"
    PORT = "inet_service"


class End(Enum):
    """An end of a connection, whichever way the packet at hand goes."""

    SOURCE = "source"
    DESTINATION = "destination"


@dataclass(frozen=True, slots=True)
class NftSet:
    """A set of the kernel."""

    kind: Kind
    elements: frozenset[str]
    interval: bool = False
    """Its elements are ranges; such a set never changes."""


# What a rule asks

@dataclass(frozen=True, slots=True)
class InSet:
    """The address of an end is in a set."""

    end: End
    name: str


@dataclass(frozen=True, slots=True)
class ToPorts:
    """The connection has this transport, and goes to a port of this range (None: to any)."""

    protocol: Protocol
    ports: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class ToPortSet:
    """The connection has this transport, and goes to a port in a set.

    Sets have names even where one rule alone uses them: the kernel's time for anonymous ones grows with their square.
    """

    protocol: Protocol
    name: str


@dataclass(frozen=True, slots=True)
class ToNamed:
    """The connection has this transport, and its destination address with its port is in a set."""

    protocol: Protocol
    name: str


@dataclass(frozen=True, slots=True)
class Itself:
    """A pod of this host talks to itself."""


Match = InSet | ToPorts | ToPortSet | ToNamed | Itself


# What a rule does

@dataclass(frozen=True, slots=True)
class Accept:
    """This direction is open."""


@dataclass(frozen=True, slots=True)
class Return:
    """Go on after the jump that led here."""


@dataclass(frozen=True, slots=True)
class Jump:
    """Ask a chain, and go on here where it does not decide."""

    chain: str


@dataclass(frozen=True, slots=True)
class Goto:
    """Leave it to a chain."""

    chain: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Report the packet, at a bounded rate, under a tag, and go on."""

    tag: str


@dataclass(frozen=True, slots=True)
class Drop:
    """This direction is closed: count and drop."""

    direction: Direction


Verdict = Accept | Return | Jump | Goto | Tell | Drop


@dataclass(frozen=True, slots=True)
class Rule:
    """All matches hold: the verdict."""

    matches: tuple[Match, ...]
    verdict: Verdict
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Chain:
    """Rules in order, about addresses of one family."""

    family: int
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why connections are refused, for the log: the tag stands in the kernel's report."""

    direction: Direction
    words: str
    """Names of the policies."""


@dataclass(frozen=True, slots=True)
class Ruleset:
    """Everything that the kernel of this host shall hold."""

    sets: Mapping[str, NftSet] = field(default_factory=dict)
    chains: Mapping[str, Chain] = field(default_factory=dict)
    """In an order in which every chain comes after those that it jumps to."""
    dispatch: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Per map the profile of each address."""
    policed: Mapping[int, frozenset[str]] = field(default_factory=dict)
    """Per family the addresses that a policy governs in some direction."""
    admitted: Mapping[int, frozenset[str]] = field(default_factory=dict)
    """Per family the addresses of this host that may send and receive."""
    refusals: Mapping[str, Refusal] = field(default_factory=dict)
    """By tag."""


FAMILIES = (4, 6)
ADDRESS = {4: Kind.IPV4, 6: Kind.IPV6}
PAIR = {4: Kind.IPV4_PAIR, 6: Kind.IPV6_PAIR}
ADDRESS_PORT = {4: Kind.IPV4_PORT, 6: Kind.IPV6_PORT}


def peer_of(direction: Direction) -> End:
    """Return the end that rules of a direction select."""
    return End.DESTINATION if direction is Direction.EGRESS else End.SOURCE


def map_name(direction: Direction, family: int) -> str:
    """Return the name of the map from a pod's address to its profile."""
    return f"{direction.value}{family}"


def itself_name(family: int) -> str:
    """Return the name of the set of the policed addresses, each paired with itself."""
    return f"itself{family}"


def admitted_name(family: int) -> str:
    """Return the name of the set of the addresses that may send and receive at all."""
    return f"admitted{family}"


def digest(value: object) -> str:
    """Return a short name for what a value says; values with the same representation have the same."""
    return blake2s(repr(value).encode(), digest_size=DIGEST_BYTES).hexdigest()
