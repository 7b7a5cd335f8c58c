"""Ask the kernel which addresses the policy controller lets in.

They are in the sets `admitted4` and `admitted6` of its table `bridge weave-npc`. We ask while a container starts, so by
two small messages to nf_tables instead of a run of `nft`. Blocking, some ten microseconds; nothing is changed here.

    nfgenmsg   family u8 | version u8 | resource u16 | attributes
"""

import errno
from collections.abc import Sequence
from struct import Struct

from weave.addresses import IPAddress
from weave.net.netlink import codec
from weave.net.netlink.codec import Message
from weave.net.netlink.connection import Netlink, NetlinkFailure

TABLE = "weave-npc"
SETS = {4: "admitted4", 6: "admitted6"}
_NFGENMSG = Struct("=BBH")
_NFPROTO_BRIDGE = 7
_SUBSYSTEM = 10 << 8
_GET_TABLE, _GET_ELEMENT = _SUBSYSTEM | 1, _SUBSYSTEM | 13
_TABLE_NAME = 1
_LIST_TABLE, _LIST_SET, _LIST_ELEMENTS = 1, 2, 3
_LIST_ELEMENT, _ELEMENT_KEY, _DATA_VALUE = 1, 1, 1
_NOBODY_KEEPS_OUT = frozenset({errno.ENOENT, errno.EAFNOSUPPORT, errno.EOPNOTSUPP, errno.EINVAL})
"""No such table, or a kernel without nf_tables for bridges."""


def are_admitted(netfilter: Netlink, addresses: Sequence[IPAddress]) -> bool:
    """Say whether all addresses are let in; they are where no controller has made its table."""
    if not _answers(netfilter, _get_table(), _NOBODY_KEEPS_OUT):
        return True
    return all(_answers(netfilter, _get_element(address), frozenset({errno.ENOENT})) for address in addresses)


def _answers(netfilter: Netlink, message: Message, absent: frozenset[int]) -> bool:
    try:
        netfilter.query(message, "look up what the policy controller admits")
    except NetlinkFailure as exc:
        if exc.code in absent:
            return False
        raise
    return True


def _get_table() -> Message:
    return Message(_GET_TABLE, 0, _NFGENMSG.pack(_NFPROTO_BRIDGE, 0, 0) + codec.text(_TABLE_NAME, TABLE))


def _get_element(address: IPAddress) -> Message:
    key = codec.nested(_ELEMENT_KEY, codec.attribute(_DATA_VALUE, address.packed))
    elements = codec.nested(_LIST_ELEMENTS, codec.nested(_LIST_ELEMENT, key))
    return Message(_GET_ELEMENT, 0, _NFGENMSG.pack(_NFPROTO_BRIDGE, 0, 0) + codec.text(_LIST_TABLE, TABLE)
                   + codec.text(_LIST_SET, SETS[address.version]) + elements)
