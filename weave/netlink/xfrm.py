"""Build and read the messages of XFRM, the kernel's IPsec. Pure.

Numbers and layouts from linux/xfrm.h. We use one shape only: ESP in transport mode with rfc4106(gcm(aes)), 256 bits,
and extended sequence numbers. Keys are 36 octets: 32 of the cipher and 4 of salt. Everything of ours bears `REQID`, in
associations and in the templates of policies; what bears another belongs to somebody else and is not read.
"""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from socket import AF_INET, AF_INET6, IPPROTO_ESP, IPPROTO_UDP
from struct import Struct

from weave.addresses import IPAddress
from weave.netlink import codec
from weave.netlink.codec import GarbledNetlink, Message, read_attributes
from weave.netlink.constants import NLM_F_CREATE, NLM_F_EXCL

XFRM_MSG_NEWSA = 0x10
XFRM_MSG_DELSA = 0x11
XFRM_MSG_GETSA = 0x12
XFRM_MSG_NEWPOLICY = 0x13
XFRM_MSG_DELPOLICY = 0x14
XFRM_MSG_GETPOLICY = 0x15
XFRM_MSG_ACQUIRE = 0x17
XFRM_MSG_EXPIRE = 0x18
XFRM_MSG_UPDPOLICY = 0x19
XFRMA_TMPL = 5
XFRMA_ALG_AEAD = 18
XFRMA_REPLAY_ESN_VAL = 23
XFRMNLGRP_ACQUIRE = 1
XFRMNLGRP_EXPIRE = 2
XFRM_MODE_TRANSPORT = 0
XFRM_STATE_ESN = 128
XFRM_POLICY_IN, XFRM_POLICY_OUT = 0, 1
CIPHER = b"rfc4106(gcm(aes))"
KEY_BYTES = 36
TAG_BITS = 128
REPLAY_WINDOW = 1024
"""Packets that may overtake each other; receive queues of several processors shuffle hundreds."""
REQID = 0x77656176
"""`weav`: what is ours among the associations and policies of this host."""
PRIORITY = 1000
"""Ours come before what other programs usually ask for; a smaller number is looked at first."""
SOFT_BYTES = 1 << 36
"""After 64 GiB under one key the kernel asks for a new one."""
HARD_BYTES = 1 << 42
"""After 4 TiB it sends nothing more under the old one: 2**38 blocks, far from where GCM begins to weaken."""

_ANY = (1 << 64) - 1
_ADDRESS_BYTES = 16
_SELECTOR = Struct("=16s16s2s2s2s2sHBBBxxxiI")
_ID = Struct("=16s4sBxxx")
_LIFETIMES = Struct("=8Q")
_USED = Struct("=4Q")
_STATE_TAIL = Struct("=IIHBBB7x")
_POLICY_TAIL = Struct("=IIBBBBxxxx")
_TEMPLATE_TAIL = Struct("=IBBBxIII")
_REPLAY = Struct("=IIIIII")
_ALGORITHM = Struct("=64sII")
STATE_BYTES = 224
POLICY_BYTES = 168
TEMPLATE_BYTES = 64
EXPIRE_BYTES = 232
ACQUIRE_BYTES = 280
_STATISTICS_BYTES = 12
_POLICY_LIMITS = _LIFETIMES.pack(_ANY, _ANY, _ANY, _ANY, 0, 0, 0, 0)
_FAMILY = {4: AF_INET, 6: AF_INET6}


@dataclass(frozen=True, slots=True)
class Association:
    """One direction of ESP between two hosts."""

    source: IPAddress
    destination: IPAddress
    spi: int
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class AssociationState:
    """An association as the kernel has it; its key stays there."""

    source: IPAddress
    destination: IPAddress
    spi: int
    reqid: int
    octets: int
    packets: int


@dataclass(frozen=True, slots=True, order=True)
class PolicyKey:
    """Which packets a policy is about: UDP from one host to another, to this port."""

    outbound: bool
    source: IPAddress
    destination: IPAddress
    port: int


@dataclass(frozen=True, slots=True)
class PolicyState:
    """A policy as the kernel has it."""

    key: PolicyKey
    reqid: int
    spi: int
    """The association it sends by; 0: any."""


@dataclass(frozen=True, slots=True)
class Expired:
    """The kernel says that an association has done its work: soon (soft) or for good (hard)."""

    source: IPAddress
    destination: IPAddress
    spi: int
    hard: bool


@dataclass(frozen=True, slots=True)
class Acquire:
    """The kernel has a packet for which an association is missing."""

    source: IPAddress
    destination: IPAddress


def add_association(association: Association) -> Message:
    """Add an association; refused (EEXIST) where the destination has one under that SPI."""
    version = association.source.version
    body = b"".join((
        _SELECTOR.pack(b"", b"", b"", b"", b"", b"", _FAMILY[version], 0, 0, 0, 0, 0),
        _ID.pack(association.destination.packed, association.spi.to_bytes(4), IPPROTO_ESP),
        association.source.packed.ljust(_ADDRESS_BYTES, b"\0"),
        _LIFETIMES.pack(SOFT_BYTES, HARD_BYTES, _ANY, _ANY, 0, 0, 0, 0),
        _USED.pack(0, 0, 0, 0), bytes(_STATISTICS_BYTES),
        _STATE_TAIL.pack(0, REQID, _FAMILY[version], XFRM_MODE_TRANSPORT, 0, XFRM_STATE_ESN),
        codec.attribute(XFRMA_ALG_AEAD, _ALGORITHM.pack(CIPHER, 8 * len(association.key), TAG_BITS) + association.key),
        codec.attribute(XFRMA_REPLAY_ESN_VAL, _REPLAY.pack(REPLAY_WINDOW // 32, 0, 0, 0, 0, REPLAY_WINDOW)
                        + bytes(REPLAY_WINDOW // 8)),
    ))
    return Message(XFRM_MSG_NEWSA, NLM_F_CREATE | NLM_F_EXCL, body)


def delete_association(destination: IPAddress, spi: int) -> Message:
    """Remove an association."""
    return Message(XFRM_MSG_DELSA, 0, Struct("=16s4sHBx").pack(
        destination.packed, spi.to_bytes(4), _FAMILY[destination.version], IPPROTO_ESP))


def dump_associations() -> Message:
    """Ask for all associations."""
    return Message(XFRM_MSG_GETSA, 0, b"")


def set_policy(key: PolicyKey, spi: int) -> Message:
    """Have these packets protected: sent by the association `spi`, or accepted only as ESP of ours."""
    template = b"".join((
        _ID.pack(key.destination.packed, spi.to_bytes(4), IPPROTO_ESP),
        Struct("=Hxx").pack(_FAMILY[key.source.version]),
        key.source.packed.ljust(_ADDRESS_BYTES, b"\0"),
        _TEMPLATE_TAIL.pack(REQID, XFRM_MODE_TRANSPORT, 0, 0, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF),
    ))
    body = b"".join((_selector(key), _POLICY_LIMITS, _USED.pack(0, 0, 0, 0),
                     _POLICY_TAIL.pack(PRIORITY, 0, _direction(key), 0, 0, 0)))
    return Message(XFRM_MSG_UPDPOLICY, NLM_F_CREATE, body + codec.attribute(XFRMA_TMPL, template))


def delete_policy(key: PolicyKey) -> Message:
    """Remove a policy."""
    return Message(XFRM_MSG_DELPOLICY, 0, _selector(key) + Struct("=IBxxx").pack(0, _direction(key)))


def dump_policies() -> Message:
    """Ask for all policies."""
    return Message(XFRM_MSG_GETPOLICY, 0, b"")


def _direction(key: PolicyKey) -> int:
    return XFRM_POLICY_OUT if key.outbound else XFRM_POLICY_IN


def _selector(key: PolicyKey) -> bytes:
    bits = key.source.max_prefixlen
    return _SELECTOR.pack(key.destination.packed, key.source.packed, key.port.to_bytes(2), b"\xff\xff", b"", b"",
                          _FAMILY[key.source.version], bits, bits, IPPROTO_UDP, 0, 0)


def read_association(body: bytes) -> AssociationState:
    """Read an XFRM_MSG_NEWSA."""
    source, destination, spi = _read_state(body)
    offset = _SELECTOR.size + _ID.size + _ADDRESS_BYTES + _LIFETIMES.size
    octets, packets, _, _ = _USED.unpack_from(body, offset)
    _, reqid, *_ = _STATE_TAIL.unpack_from(body, offset + _USED.size + _STATISTICS_BYTES)
    return AssociationState(source, destination, spi, reqid, octets, packets)


def read_policy(body: bytes) -> PolicyState | None:
    """Read an XFRM_MSG_NEWPOLICY; None for one that is not of the kind we make."""
    _require(body, POLICY_BYTES)
    destination, source, port, mask, _, _, family, _, _, protocol, _, _ = _SELECTOR.unpack_from(body)
    _, _, direction, *_ = _POLICY_TAIL.unpack_from(body, _SELECTOR.size + _LIFETIMES.size + _USED.size)
    template = read_attributes(body, POLICY_BYTES).get(XFRMA_TMPL, b"")
    if protocol != IPPROTO_UDP or mask != b"\xff\xff" or len(template) != TEMPLATE_BYTES \
            or direction not in (XFRM_POLICY_IN, XFRM_POLICY_OUT):
        return None
    _, spi, _ = _ID.unpack_from(template)
    reqid, *_ = _TEMPLATE_TAIL.unpack_from(template, TEMPLATE_BYTES - _TEMPLATE_TAIL.size)
    return PolicyState(PolicyKey(direction == XFRM_POLICY_OUT, _address(family, source),
                                 _address(family, destination), int.from_bytes(port)), reqid, int.from_bytes(spi))


def read_expire(body: bytes) -> Expired:
    """Read an XFRM_MSG_EXPIRE."""
    _require(body, EXPIRE_BYTES)
    source, destination, spi = _read_state(body)
    return Expired(source, destination, spi, bool(body[STATE_BYTES]))


def read_acquire(body: bytes) -> Acquire:
    """Read an XFRM_MSG_ACQUIRE."""
    _require(body, ACQUIRE_BYTES)
    offset = _ID.size + _ADDRESS_BYTES
    destination, source, _, _, _, _, family, *_ = _SELECTOR.unpack_from(body, offset)
    return Acquire(_address(family, source), _address(family, destination))


def _read_state(body: bytes) -> tuple[IPAddress, IPAddress, int]:
    _require(body, STATE_BYTES)
    destination, spi, _ = _ID.unpack_from(body, _SELECTOR.size)
    source = body[_SELECTOR.size + _ID.size:_SELECTOR.size + _ID.size + _ADDRESS_BYTES]
    _, _, family, *_ = _STATE_TAIL.unpack_from(body, STATE_BYTES - _STATE_TAIL.size)
    return _address(family, source), _address(family, destination), int.from_bytes(spi)


def _address(family: int, octets: bytes) -> IPAddress:
    if family == AF_INET:
        return IPv4Address(octets[:4])
    if family == AF_INET6:
        return IPv6Address(octets)
    raise GarbledNetlink(f"IPsec between addresses of family {family}")


def _require(body: bytes, size: int) -> None:
    if len(body) < size:
        raise GarbledNetlink(f"IPsec message of {len(body)} octets where {size} are due")
