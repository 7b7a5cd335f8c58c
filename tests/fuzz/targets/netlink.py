"""What comes from a netlink socket, and what nft lists.

Input: one byte of mode, the rest. Mode 0 to 5: the body of an answer; 6: a datagram; 7: an error. Allowed: a value, or
`GarbledNetlink`.
"""

from weave.net.netlink import codec, messages, readings
from weave.net.netlink import constants as nl
from weave.net.netlink.codec import GarbledNetlink, Reply

READERS = (readings.read_link, readings.read_address, readings.read_forward, readings.read_neighbour,
           readings.read_route, readings.read_namespace_id)
MAC = bytes.fromhex("021122334455")


def target(data: bytes) -> None:
    if not data:
        return
    mode, body = data[0] % 8, data[1:]
    try:
        if mode < len(READERS):
            READERS[mode](body)
        elif mode == len(READERS):
            size = sum(codec.HEADER.size + len(reply.body) for reply in codec.split_datagram(body))
            assert size <= len(body)
        else:
            codec.read_error(Reply(nl.NLMSG_ERROR, int.from_bytes(body[:2]), 1, body[2:]))
    except GarbledNetlink:
        return


_LINK = messages.create_veth("vethwe1", master=3, mtu=1450, peer="eth0", peer_mac="02:11:22:33:44:55", namespace=4).body
_ERROR = bytes(4) + codec.HEADER.pack(20, 16, 0, 1, 0) + codec.text(nl.NLMSGERR_ATTR_MSG, "no")
SEEDS: list[bytes] = [
    b"\0" + _LINK,
    b"\2" + messages.set_tunnel(3, MAC, bytes(4)).body,
    b"\3" + messages.set_neighbour(3, bytes(16), MAC).body,
    b"\5" + messages.get_namespace_id(3).body,
    b"\6" + codec.HEADER.pack(16 + len(_LINK), nl.RTM_NEWLINK, 0, 1, 0) + _LINK,
    b"\7" + (nl.NLM_F_ACK_TLVS | nl.NLM_F_CAPPED).to_bytes(2) + _ERROR,
]
