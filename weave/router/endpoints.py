"""Endpoints as entries of the gossip channel: who is reachable at which MAC, with which addresses, on which peer.

key    the six octets of the MAC
value  map {"a": addresses with prefix length, "c": container, "i": interface, "l": labels, where there are any};
       unknown keys are skipped
"""

from collections.abc import Container, Iterable
from dataclasses import replace

from weave.addresses import IPAddress, IPInterface, parse_interface
from weave.errors import LocalError
from weave.labels import MAX_LABELS, check_labels
from weave.names import PeerName
from weave.net import Endpoint
from weave.wire import Plain, WireError, expect_bytes, expect_list, expect_map, expect_str, pack, unpack

CHANNEL = "endpoints"
MAC_BYTES = 6
MAX_ADDRESSES = 64
MAX_CONTAINER = 255
MAX_INTERFACE = 15


def choose(claims: Iterable[Endpoint], reachable: Container[PeerName]) -> tuple[list[Endpoint], int]:
    """Return the endpoints that count, one for each MAC, sorted by MAC, and how many claims of a MAC were refused.

    Reachable peers are believed before others. An address of theirs is no longer that of a peer which is unreachable:
    its space may have been taken over, and given away again.
    """
    chosen: dict[str, Endpoint] = {}
    taken: set[IPAddress] = set()
    refused = 0
    for claim in sorted(claims, key=lambda claim: (claim.peer not in reachable, str(claim.peer), claim.mac)):
        if claim.mac in chosen:
            refused += chosen[claim.mac].peer != claim.peer
        elif claim.peer in reachable:
            chosen[claim.mac] = claim
            taken.update(address.ip for address in claim.addresses)
        else:
            left = tuple(address for address in claim.addresses if address.ip not in taken)
            chosen[claim.mac] = claim if left == claim.addresses else replace(claim, addresses=left)
    return [chosen[mac] for mac in sorted(chosen)], refused


def encode_endpoint(endpoint: Endpoint) -> tuple[bytes, bytes]:
    """Return key and value of the entry that announces one of our endpoints."""
    body: dict[str, Plain] = {
        "a": sorted(str(address) for address in endpoint.addresses),
        "c": endpoint.container,
        "i": endpoint.interface,
    }
    if endpoint.labels:
        body["l"] = dict(sorted(endpoint.labels.items()))
    return key_of(endpoint.mac), pack(body)


def key_of(mac: str) -> bytes:
    """Return the key of the entry of an endpoint."""
    return bytes.fromhex(mac.replace(":", ""))


def decode_endpoint(owner: PeerName, key: bytes, value: bytes) -> Endpoint:
    """Return the endpoint that a peer announces; raise `WireError` for what is none."""
    mac = expect_bytes(key, "the MAC of an endpoint", size=MAC_BYTES)
    if mac[0] & 1 or mac == bytes(MAC_BYTES):
        raise WireError(f"{mac.hex(':')} is no address of a single interface")
    body = expect_map(unpack(value), "an endpoint")
    return Endpoint(
        mac=mac.hex(":"),
        addresses=tuple(_address(item) for item in expect_list(body.get("a"), "addresses", most=MAX_ADDRESSES)),
        container=expect_str(body.get("c"), "a container", most=MAX_CONTAINER),
        interface=expect_str(body.get("i"), "an interface", most=MAX_INTERFACE),
        peer=owner,
        labels=_labels(body.get("l", {})),
    )


def _labels(item: object) -> dict[str, str]:
    found = expect_map(item, "labels")
    if len(found) > MAX_LABELS:
        raise WireError(f"{len(found)} labels are too many")
    try:
        return check_labels({expect_str(key, "a label"): expect_str(value, "a label") for key, value in found.items()})
    except LocalError as exc:
        raise WireError(str(exc)) from exc


def _address(item: object) -> IPInterface:
    text = expect_str(item, "an address")
    try:
        return parse_interface(text)
    except LocalError as exc:
        raise WireError(str(exc)) from exc
