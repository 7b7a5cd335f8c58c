"""Which encrypted tunnels two hosts can have, best first, and why not the others. Pure.

What a host can it says in its features, which are gossiped and signed: `wg` its WireGuard key, `wgp` its WireGuard
port, `esp` the families over which it has ESP, `pp` its port for probes. Both ends compute the same candidates from
what both say; the order is that of `Mode`.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from weave.net.crypt.capability import KernelAbility
from weave.net.crypt.keys import KEY_BYTES
from weave.wire import Plain, WireError, expect_bytes, expect_int, expect_list

MAX_PORT = 65535


class Mode(enum.IntEnum):
    """An encrypted tunnel of the kernel, better first; the number is on the wire."""

    WIREGUARD = 1
    IPSEC = 2

    @property
    def words(self) -> str:
        """Return what people call a link of this mode."""
        return {Mode.WIREGUARD: "vxlan+wireguard", Mode.IPSEC: "vxlan+ipsec"}[self]


@dataclass(frozen=True, slots=True)
class Claim:
    """What a host says that it can."""

    wireguard_key: bytes = b""
    """Empty: no WireGuard."""
    wireguard_port: int = 0
    esp: frozenset[int] = frozenset()
    """Families of underlay addresses."""
    probe_port: int = 0


def claim_of(ability: KernelAbility, wireguard_key: bytes, wireguard_port: int, probe_port: int) -> Claim:
    """Return what this host says, given what its kernel can."""
    families = {4: ability.esp4, 6: ability.esp6}
    return Claim(b"" if ability.wireguard else wireguard_key, wireguard_port,
                 frozenset(version for version, why_not in families.items() if not why_not), probe_port)


def features_of(claim: Claim) -> Mapping[str, Plain]:
    """Return a claim as features to be gossiped; empty for one that claims nothing."""
    features: dict[str, Plain] = {}
    if claim.wireguard_key:
        features |= {"wg": claim.wireguard_key, "wgp": claim.wireguard_port}
    if claim.esp:
        features["esp"] = sorted(claim.esp)
    return features | {"pp": claim.probe_port} if features else {}


def read_features(features: Mapping[str, object]) -> Claim:
    """Return the claim in what a peer gossips; raise `WireError` for nonsense."""
    if "pp" not in features:
        return Claim()
    key = expect_bytes(features.get("wg", b""), "a WireGuard key", most=KEY_BYTES)
    if len(key) not in (0, KEY_BYTES):
        raise WireError(f"a WireGuard key has {KEY_BYTES} octets, this one has {len(key)}")
    families = [expect_int(item, "a family", 4, 6) for item in
                expect_list(features.get("esp", []), "families of ESP", most=2)]
    return Claim(key, expect_int(features.get("wgp", 1), "a port", 1, MAX_PORT), frozenset(families),
                 expect_int(features.get("pp"), "a port", 1, MAX_PORT))


def candidates(ours: Claim, theirs: Claim, version: int, *, translated: bool) -> tuple[Mode, ...]:
    """Return the tunnels that both hosts can have over an underlay of this family, best first.

    `translated`: the addresses of one are seen as others by the other (NAT).
    """
    found = []
    if ours.wireguard_key and theirs.wireguard_key:
        found.append(Mode.WIREGUARD)
    if version in ours.esp & theirs.esp and not translated:
        found.append(Mode.IPSEC)
    return tuple(found)


def why_not(mode: Mode, ours: Claim, theirs: Claim, version: int, ability: KernelAbility) -> str:
    """Return why a tunnel is no candidate, in words."""
    if mode is Mode.WIREGUARD:
        if not ours.wireguard_key:
            return ability.wireguard
        return "" if theirs.wireguard_key else "that host has no WireGuard (its own `weave status links` says why)"
    if version not in ours.esp:
        return ability.esp4 if version == 4 else ability.esp6
    if version not in theirs.esp:
        return "that host has no ESP (its own `weave status links` says why)"
    return "the addresses of the two hosts are translated on the way (NAT), which ESP does not survive"
