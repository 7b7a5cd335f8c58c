"""Peers for the tests: names that sort by their number, and the addresses at which they listen."""

from weave.names import PeerName, peer_name_from_bytes


def name(number: int) -> PeerName:
    """Return the name of a peer; lower numbers have lower names."""
    return peer_name_from_bytes(number.to_bytes(6, "big"))


def address(number: int) -> str:
    """Return where a peer listens."""
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}:6783"


def known(*numbers: int) -> dict[PeerName, tuple[str, ...]]:
    """Return what gossip says of these peers."""
    return {name(number): (address(number),) for number in numbers}
