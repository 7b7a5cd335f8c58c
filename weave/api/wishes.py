"""Which address a caller wishes for, as Weave writes it.

`10.32.0.5/12` and `ip:10.32.0.5/12` name one address; `net:10.2.0.0/16` means any free one of that subnet, and
`net:default` any free one of the router's default subnet. No wish at all is a wish for `net:default`.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from weave.addresses import IPInterface, IPNetwork, parse_interface, parse_network
from weave.errors import LocalError


@dataclass(frozen=True, slots=True)
class Exactly:
    """Wish for this address, in the subnet that its prefix length says."""

    interface: IPInterface


@dataclass(frozen=True, slots=True)
class AnyIn:
    """Wish for whichever address is free in a subnet; None is the router's default subnet."""

    subnet: IPNetwork | None = None


Wish = Exactly | AnyIn
DEFAULT_WISH = AnyIn()


def parse_wish(text: str) -> Wish:
    """Return what the text asks for; raise `LocalError` with an example where it is no address argument."""
    kind, colon, rest = text.strip().partition(":")
    if colon and kind == "net":
        return DEFAULT_WISH if rest == "default" else AnyIn(parse_network(rest))
    if colon and kind == "ip":
        return Exactly(parse_interface(rest))
    if "/" not in text:
        raise LocalError(f"{text!r} is not an address argument: write 10.32.0.5/12, net:10.32.2.0/24 or net:default")
    return Exactly(parse_interface(text))


def parse_wishes(texts: Iterable[str]) -> tuple[Wish, ...]:
    """Return the wishes in the order given, each once."""
    return tuple(dict.fromkeys(parse_wish(text) for text in texts))


def format_wish(wish: Wish) -> str:
    """Return the text that `parse_wish` reads as this wish."""
    match wish:
        case Exactly(interface):
            return str(interface)
        case AnyIn(None):
            return "net:default"
        case AnyIn(subnet):
            return f"net:{subnet}"
