"""Limit how fast a container may send and receive: a token bucket at each end of its cable. Blocking.

    host                        container
    vethwe...  ═══════ veth ═══ eth0
    tbf: what goes in           tbf: what comes out

A veth has no queue of its own, so each end gets the kernel's `tbf`. What comes out is limited where it comes from, in
the container; one that may change its own network (CAP_NET_ADMIN) can lift that limit.
"""

import errno
import sys
from dataclasses import dataclass
from struct import Struct

from weave.errors import EnvironmentFailure
from weave.netlink import codec
from weave.netlink.codec import Message
from weave.netlink.connection import Netlink
from weave.netlink.constants import AF_UNSPEC, NLM_F_CREATE, NLM_F_REPLACE

QUEUE_S = 0.1
"""How long a packet waits at most when the bucket is empty; more is delay, less starves slow links of TCP."""
QUEUE_BYTES = 1 << 17
"""Two of the largest packets that segmentation offload makes, which come as one each."""
LEAST_BURST_BYTES = 4096
"""A bucket must hold one whole frame, or none ever passes."""
_MOST = (1 << 32) - 1
_RTM_NEWQDISC = 36
_TC_ROOT = 0xFFFFFFFF
_HANDLE = 1 << 16
_KIND, _OPTIONS = 1, 2
_PARAMETERS, _RATE64, _BURST = 1, 4, 6
_TCMSG = Struct("=B3xiIII")
_RATE = "BBHhHI"
_TBF = Struct(f"={_RATE}{_RATE}III")
_ETHERNET = 1
_NANOSECONDS_A_TICK = 64
_UNKNOWN_QDISC = frozenset({errno.ENOENT, errno.EOPNOTSUPP})


@dataclass(frozen=True, slots=True)
class Limit:
    """A rate in octets a second, and how many octets may come at once; a rate of 0 is no limit."""

    rate: int
    burst: int


def limit(netlink: Netlink, index: int, name: str, wanted: Limit) -> None:
    """Limit what leaves by an interface of the namespace of this connection."""
    for refusal in netlink.attempt([_set_bucket(index, wanted)]):
        advice = ("this kernel lacks the queueing discipline tbf; load the module sch_tbf, or ask for no bandwidth"
                  if refusal.code in _UNKNOWN_QDISC else refusal.reason or errno.errorcode.get(refusal.code, "?"))
        raise EnvironmentFailure(f"cannot limit the bandwidth of {name}: {advice}")


def _set_bucket(index: int, wanted: Limit) -> Message:
    """Return what makes a token bucket the queue of an interface, or changes the one that is there."""
    burst = min(max(wanted.burst, LEAST_BURST_BYTES), _MOST)
    size = min(int(wanted.rate * QUEUE_S) + QUEUE_BYTES, _MOST)
    ticks = min(burst * 1_000_000_000 // wanted.rate // _NANOSECONDS_A_TICK, _MOST)
    parameters = _TBF.pack(0, _ETHERNET, 0, 0, 0, min(wanted.rate, _MOST), 0, 0, 0, 0, 0, 0, size, ticks, 0)
    rate64 = wanted.rate.to_bytes(8, sys.byteorder) if wanted.rate > _MOST else b""
    options = codec.nested(
        _OPTIONS, codec.attribute(_PARAMETERS, parameters), codec.u32(_BURST, burst),
        codec.attribute(_RATE64, rate64) if rate64 else b"")
    return Message(_RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE,
                   _TCMSG.pack(AF_UNSPEC, index, _HANDLE, _TC_ROOT, 0) + codec.text(_KIND, "tbf") + options)
