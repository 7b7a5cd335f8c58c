"""What comes from a netlink socket, and what nft lists.

Input: one byte of mode, the rest. The first modes: the body of an answer, one reader each; the next: a datagram; the
last two: an error, the end of a dump. Allowed: a value, or `GarbledNetlink`.
"""

from ipaddress import ip_address, ip_network

from weave.netlink import codec, generic, messages, readings, wireguard, xfrm
from weave.netlink import constants as nl
from weave.netlink.codec import GarbledNetlink, Reply

READERS = (readings.read_link, readings.read_address, readings.read_forward, readings.read_neighbour,
           readings.read_route, readings.read_namespace_id, generic.read_family, wireguard.read_device,
           xfrm.read_association, xfrm.read_policy, xfrm.read_expire, xfrm.read_acquire)
MAC = bytes.fromhex("021122334455")


def target(data: bytes) -> None:
    if not data:
        return
    mode, body = data[0] % (len(READERS) + 3), data[1:]
    try:
        if mode < len(READERS):
            READERS[mode](body)
        elif mode == len(READERS):
            size = sum(codec.HEADER.size + len(reply.body) for reply in codec.split_datagram(body))
            assert size <= len(body)
        elif mode == len(READERS) + 1:
            codec.read_error(Reply(nl.NLMSG_ERROR, int.from_bytes(body[:2]), 1, body[2:]))
        else:
            codec.read_done(Reply(nl.NLMSG_DONE, int.from_bytes(body[:2]), 1, body[2:]))
    except GarbledNetlink:
        return


_LINK = messages.create_veth("vethwe1", "02:00:00:00:00:07", master=3, mtu=1450, peer="eth0",
                             peer_mac="02:11:22:33:44:55", namespace=4).body
_POLICY = xfrm.PolicyKey(True, ip_address("192.0.2.1"), ip_address("192.0.2.2"), 6784)
_ASSOCIATION = xfrm.add_association(xfrm.Association(_POLICY.source, _POLICY.destination, 256, bytes(36))).body
_PEER = wireguard.Peer(b"k" * 32, endpoint=(_POLICY.source, 6785), allowed=frozenset({ip_network("fd77::7/128")}))
_WORDS = codec.text(nl.NLMSGERR_ATTR_MSG, "no")
_ERROR = bytes(4) + codec.HEADER.pack(20, 16, 0, 1, 0) + _WORDS
SEEDS: list[bytes] = [
    b"\0" + _LINK,
    b"\2" + messages.set_tunnel(3, MAC, bytes(4)).body,
    b"\3" + messages.set_neighbour(3, bytes(16), MAC).body,
    b"\5" + messages.get_namespace_id(3).body,
    b"\6" + generic.get_family("wireguard").body,
    b"\7" + wireguard.set_peers(33, "weave-wg", [_PEER])[0].body,
    b"\x08" + _ASSOCIATION,
    b"\x09" + xfrm.set_policy(_POLICY, 256).body,
    b"\x0a" + _ASSOCIATION[:xfrm.STATE_BYTES] + bytes(8),
    b"\x0b" + bytes(xfrm.ACQUIRE_BYTES),
    b"\x0c" + codec.HEADER.pack(16 + len(_LINK), nl.RTM_NEWLINK, 0, 1, 0) + _LINK,
    b"\x0d" + (nl.NLM_F_ACK_TLVS | nl.NLM_F_CAPPED).to_bytes(2) + _ERROR,
    b"\x0e" + nl.NLM_F_ACK_TLVS.to_bytes(2) + bytes(4) + _WORDS,
]
