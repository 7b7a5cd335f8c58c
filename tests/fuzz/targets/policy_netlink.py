"""What the kernel's nftables and NFLOG say to the policy controller, and the endpoints that the router tells it.

Input: one octet of mode, the rest. Modes: 0 notifications and errors, 1 reports of refused packets, 2 JSON endpoints.
Allowed: a value; `GarbledNetlink`; for endpoints `RemoteError`.
"""

import json

from weave.errors import RemoteError
from weave.netlink.codec import GarbledNetlink, Message, attribute, frame, split_datagram
from weave.netlink.nftables import NFPROTO_BRIDGE, Element, changed_table, read_table, transaction
from weave.npc.endpoint import read_endpoints
from weave.npc.kernel_reports import PAYLOAD, PREFIX, ULOG_PACKET, read_reports

NOTICES, REPORTS, ENDPOINTS = range(3)


def target(data: bytes) -> None:
    if not data:
        return
    mode, body = data[0] % 3, data[1:]
    if mode == ENDPOINTS:
        read_json(body)
        return
    try:
        if mode == REPORTS:
            assert len(read_reports(body)) <= len(body) // 16
            return
        for notice in split_datagram(body):
            changed_table(notice)
            read_table(notice.body)
    except GarbledNetlink:
        return


def read_json(body: bytes) -> None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return
    try:
        _, endpoints = read_endpoints(value)
    except RemoteError:
        return
    for endpoint in endpoints:
        assert endpoint.key.name == endpoint.container or endpoint.pod


_BATCH = b"".join(frame(message, number) for number, message in enumerate(transaction(
    [], [Element(NFPROTO_BRIDGE, "weave-npc", "admitted4", bytes([10, 32, 0, 1]))])))
_PACKET = bytes.fromhex("4500003c0000400040060000" "0a2000010a200002" "c3500050")
SEEDS: list[bytes] = [
    bytes([NOTICES]) + _BATCH,
    bytes([NOTICES]) + frame(Message(2, 0, b"\xfe\xff\xff\xff"), 1),
    bytes([REPORTS]) + frame(Message(ULOG_PACKET, 0, bytes(4) + attribute(PREFIX, b"tag\0")
                                     + attribute(PAYLOAD, _PACKET)), 0),
    bytes([ENDPOINTS]) + json.dumps({"generation": 1, "endpoints": [{
        "mac": "02:00:00:00:00:01", "container": "c", "addresses": ["10.32.0.1/12", "fd00::1/64"], "nickname": "h",
        "peer": "p", "local": True, "labels": {"app": "web"}}]}).encode(),
]
