"""What matters of the nodes of a cluster: their addresses, whether they run, and which of them we dial. No I/O."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from weave.kube import limits
from weave.kube.resource import mapping, metadata, sequence, text

OUR_REASON = "WeaveIsUp"
STARTING_REASON = "WeaveIsStarting"
UNAVAILABLE = "NetworkUnavailable"
_KINDS = ("InternalIP", "ExternalIP")


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node."""

    name: str
    uid: str
    """Another one when a node of that name was made anew."""
    addresses: tuple[str, ...]
    """Internal ones, or external ones where there are no others; in the order the node gives them."""
    is_ready: bool
    has_our_network: bool


def read_node(value: object) -> NodeView | None:
    """Return what matters of a node; None for what is none."""
    name = text(metadata(value).get("name"))
    if not name:
        return None
    status = mapping(mapping(value).get("status"))
    conditions = {text(mapping(each).get("type")): mapping(each) for each in sequence(status.get("conditions"))}
    network = conditions.get(UNAVAILABLE, {})
    return NodeView(
        name, text(metadata(value).get("uid")), _addresses(sequence(status.get("addresses"))),
        is_ready=mapping(conditions.get("Ready")).get("status") == "True",
        has_our_network=network.get("status") == "False" and network.get("reason") == OUR_REASON)


def _addresses(entries: Iterable[object]) -> tuple[str, ...]:
    found: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    for entry in entries:
        kind, address = text(mapping(entry).get("type")), text(mapping(entry).get("address"))
        if kind in found and _is_address(address):
            found[kind].append(address)
    return tuple(next((addresses for addresses in found.values() if addresses), []))


def _is_address(word: str) -> bool:
    try:
        ip_address(word)
    except ValueError:
        return False
    return True


def choose_targets(nodes: Mapping[str, NodeView], me: str) -> tuple[str, ...]:
    """Return the addresses to dial: one for each other node, or for some that keep all connected where there are many.

    Of many nodes, sorted by name in a circle, those 1, 2, 4, ... places on are dialled: the next one keeps the circle
    whole, the others make it small.
    """
    names = sorted(nodes.keys() | {me})
    at, count = names.index(me), len(names)
    if count - 1 <= limits.MAX_TARGETS:
        chosen = [name for name in names if name != me]
    else:
        chosen = [names[(at + (1 << step)) % count] for step in range((count - 1).bit_length())]
    family = _family(nodes[me].addresses[0]) if me in nodes and nodes[me].addresses else 4
    found = (_address_of(nodes[name], family) for name in chosen if name in nodes)
    return tuple(dict.fromkeys(address for address in found if address))


def _address_of(node: NodeView, family: int) -> str:
    """Return the node's first address of our own family, or of the other where it has none."""
    same = [address for address in node.addresses if _family(address) == family]
    return next(iter([*same, *node.addresses]), "")


def _family(address: str) -> int:
    return ip_address(address).version


def network_condition(now: str, *, is_up: bool) -> Mapping[str, object]:
    """Return the patch of a node's status that says whether its network can be used; `now` as RFC 3339."""
    return {"status": {"conditions": [{
        "type": UNAVAILABLE,
        "status": "False" if is_up else "True",
        "reason": OUR_REASON if is_up else STARTING_REASON,
        "message": "the router of this node is ready" if is_up else "the router of this node is about to start",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }]}}
