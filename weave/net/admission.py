"""Ask the kernel which addresses the policy controller lets in.

They are in the sets `admitted4` and `admitted6` of its table `bridge weave-npc`. We ask while a container starts, so by
two small messages to nf_tables instead of a run of `nft`. Blocking, some ten microseconds; nothing is changed here.

That there is no such table may mean that nobody runs a controller, or that it has not come yet after a boot. Only the
router's operator knows which, so both can be asked.

    nfgenmsg   family u8 | version u8 | resource u16 | attributes
"""

import errno
from collections.abc import Sequence

from weave.addresses import IPAddress
from weave.netlink.codec import Message
from weave.netlink.connection import Netlink, NetlinkFailure
from weave.netlink.constants import NETLINK_NETFILTER
from weave.netlink.nftables import GONE, NFPROTO_BRIDGE, Element, get_element, get_table

TABLE = "weave-npc"
SETS = {4: "admitted4", 6: "admitted6"}
_NOBODY_KEEPS_OUT = frozenset({errno.ENOENT, errno.EAFNOSUPPORT, errno.EOPNOTSUPP, errno.EINVAL})
"""No such table, or a kernel without nf_tables for bridges."""


def is_guarded() -> bool:
    """Say whether a controller has made its table, in the network namespace of the calling thread."""
    with Netlink(NETLINK_NETFILTER) as netfilter:
        return _answers(netfilter, get_table(NFPROTO_BRIDGE, TABLE), _NOBODY_KEEPS_OUT)


def are_admitted(netfilter: Netlink, addresses: Sequence[IPAddress]) -> bool:
    """Say whether all addresses are let in; they are where no controller has made its table."""
    if not _answers(netfilter, get_table(NFPROTO_BRIDGE, TABLE), _NOBODY_KEEPS_OUT):
        return True
    elements = [Element(NFPROTO_BRIDGE, TABLE, SETS[address.version], address.packed) for address in addresses]
    return all(_answers(netfilter, get_element(element), GONE) for element in elements)


def _answers(netfilter: Netlink, message: Message, absent: frozenset[int]) -> bool:
    try:
        netfilter.query(message, "look up what the policy controller admits")
    except NetlinkFailure as exc:
        if exc.code in absent:
            return False
        raise
    return True
