"""How container traffic travels to each peer, and over which underlay address: a pure decision for each peer.

The rule that keeps secrets: once a password is set on either end, plain VXLAN goes to a peer only where both ends call
the other's address trusted. Otherwise, and where VXLAN cannot go, traffic is sealed by the sleeve (mode `sleeve`), or,
where both kernels can and it is proven to carry, by the kernel (`improve`). Only where an end has no sleeve the mode is
`none`. The reason says in words why the mode is not a better one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address

from weave.addresses import IPAddress, IPNetwork
from weave.names import PeerName
from weave.net import SecureLink

MODE_VXLAN = "vxlan"
MODE_SLEEVE = "sleeve"
MODE_NONE = "none"


@dataclass(frozen=True, slots=True)
class PeerUnderlay:
    """What is known about the way to one peer."""

    name: PeerName
    nickname: str
    connected_from: IPAddress | None
    """Remote address of our control connection, the surest hint; None without one."""
    advertised: tuple[IPAddress, ...]
    encrypts: bool
    """The peer runs with a password."""
    trusts_us: bool | None
    """What the peer said of our address over a direct connection; None without one."""
    trusted_subnets: tuple[IPNetwork, ...]
    sleeve: bool = False
    """The peer can do the sleeve."""
    vxlan: bool = True
    """The peer does not insist on the sleeve."""
    proves: bool = False
    """The peer answers probes of plain VXLAN."""
    sees_us: IPAddress | None = None
    """Our address, as the peer sees it over a direct connection; None without one."""


@dataclass(frozen=True, slots=True)
class Ability:
    """What this host can do, and what its operator wants."""

    sleeve: bool
    vxlan: bool = True
    """False: everything goes through the sleeve."""


@dataclass(frozen=True, slots=True)
class LinkDecision:
    """How container traffic to one peer travels, or why it does not."""

    peer: PeerName
    nickname: str
    mode: str
    address: IPAddress | None
    reason: str
    vtep: IPAddress | None = None
    """Where VXLAN goes; None: not by VXLAN."""


def decide_link(peer: PeerUnderlay, *, encrypts: bool, trusted_subnets: Sequence[IPNetwork],
                own_addresses: Sequence[IPAddress], ability: Ability) -> LinkDecision:
    """Return the mode of the link to `peer`, given our own password, trust and addresses."""
    address = peer.connected_from or _same_family(peer.advertised, own_addresses)
    plain = "no password is set"
    if encrypts or peer.encrypts:
        plain = "both ends trust this underlay"
    reason = _against_vxlan(peer, address, ability) or (
        _distrust(peer, address, trusted_subnets, own_addresses) if encrypts or peer.encrypts else None)
    if reason is None:
        return LinkDecision(peer.name, peer.nickname, MODE_VXLAN, address, plain, address)
    if ability.sleeve and peer.sleeve:
        return LinkDecision(peer.name, peer.nickname, MODE_SLEEVE, address, reason)
    lack = "this host has no TAP devices" if not ability.sleeve else "that peer cannot"
    return LinkDecision(peer.name, peer.nickname, MODE_NONE, address, f"{reason}; no sleeve: {lack}")


def degrade(decision: LinkDecision, reason: str) -> LinkDecision:
    """Return the decision for a peer that plain VXLAN was proven not to reach."""
    return replace(decision, mode=MODE_SLEEVE, vtep=None, reason=f"VXLAN does not get through: {reason}")


def wants_tunnel(peer: PeerUnderlay, decision: LinkDecision, *, encrypts: bool, ability: Ability) -> bool:
    """Say whether an encrypted tunnel of the kernel would be better than what was decided."""
    return (decision.mode != MODE_VXLAN and decision.address is not None and encrypts and peer.encrypts
            and ability.vxlan and peer.vxlan)


def is_translated(peer: PeerUnderlay, own_addresses: Sequence[IPAddress]) -> bool:
    """Say whether one of the two ends sees the other at an address that is none of its own (NAT)."""
    return _is_foreign(peer.connected_from, peer.advertised) or _is_foreign(peer.sees_us, own_addresses)


def _is_foreign(seen: IPAddress | None, own: Sequence[IPAddress]) -> bool:
    return seen is not None and bool(own) and seen not in own


def improve(decision: LinkDecision, tunnel: SecureLink) -> LinkDecision:
    """Return the decision as it is with this tunnel, where that carries; with its reasons where it does not."""
    reason = "; ".join(filter(None, (decision.reason, tunnel.words())))
    if tunnel.mode is None:
        return replace(decision, reason=reason)
    return replace(decision, mode=tunnel.mode.words, vtep=tunnel.vtep, reason=reason)


def _against_vxlan(peer: PeerUnderlay, address: IPAddress | None, ability: Ability) -> str | None:
    """Return why VXLAN cannot, or may not by the operators' wish, be used at all."""
    if address is None:
        return "no underlay address of this peer is known"
    if not ability.vxlan:
        return "this host was told to use the sleeve alone"
    if not peer.vxlan:
        return "that peer was told to use the sleeve alone"
    return None


def _distrust(peer: PeerUnderlay, address: IPAddress | None, trusted_subnets: Sequence[IPNetwork],
              own_addresses: Sequence[IPAddress]) -> str | None:
    """Return why plain traffic must not be sent, or None where both ends trust the way."""
    if address is None or not within(address, trusted_subnets):
        return f"a password is set and {address} is not in --trusted-subnets of this host"
    they_trust = peer.trusts_us
    if they_trust is None:
        they_trust = any(within(own, peer.trusted_subnets) for own in own_addresses)
    if not they_trust:
        return "a password is set and this host's address is not in --trusted-subnets of that peer"
    return None


def within(address: IPAddress, subnets: Sequence[IPNetwork]) -> bool:
    """Say whether an address lies in one of these subnets."""
    return any(address.version == subnet.version and address in subnet for subnet in subnets)


def _same_family(advertised: Sequence[IPAddress], own: Sequence[IPAddress]) -> IPAddress | None:
    """Return the first advertised address of a family that we have ourselves."""
    families = {address.version for address in own}
    return next((address for address in advertised if address.version in families), None)


def host_of(address: str) -> IPAddress | None:
    """Return the address part of `192.0.2.1:6783` or `[2001:db8::1]:6783`; None where it is no literal."""
    host = address.rpartition(":")[0] if address.count(":") == 1 else address.partition("]")[0].lstrip("[")
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
