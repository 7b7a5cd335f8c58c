"""What the kernel's nftables and NFLOG say to the policy controller, and the endpoints that the router tells it.

Input: one octet of mode, the rest. Modes: 0 notifications and errors, 1 reports of refused packets, 2 JSON endpoints.
Allowed: a value; `GarbledNetlink`; for endpoints `RemoteError`.
"""

import json

from weave.errors import RemoteError
from weave.npc import nft_netlink as wire
from weave.npc.endpoint import read_endpoints
from weave.npc.kernel_reports import PAYLOAD, PREFIX, ULOG_PACKET, read_reports
from weave.npc.nft_netlink import GarbledNetlink
from weave.npc.ruleset import Kind
from weave.npc.ruleset_change import ADMISSION_TABLE, Element

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
        for notice in wire.notices(body):
            wire.names_table(notice, "weave-npc")
            wire.table_state(notice)
            _ = notice.code
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


_BATCH, _ = wire.batch([], [Element(ADMISSION_TABLE, "admitted4", Kind.IPV4, "10.32.0.1")], 1)
_PACKET = bytes.fromhex("4500003c0000400040060000" "0a2000010a200002" "c3500050")
SEEDS: list[bytes] = [
    bytes([NOTICES]) + _BATCH,
    bytes([NOTICES]) + wire.message(wire.NLMSG_ERROR, 0, 1, 0xFE, 0xFFFF),
    bytes([REPORTS]) + wire.message(ULOG_PACKET, 0, 0, 2, 0, wire.attribute(PREFIX, b"tag\0"),
                                    wire.attribute(PAYLOAD, _PACKET)),
    bytes([ENDPOINTS]) + json.dumps({"generation": 1, "endpoints": [{
        "mac": "02:00:00:00:00:01", "container": "c", "addresses": ["10.32.0.1/12", "fd00::1/64"], "nickname": "h",
        "local": True, "labels": {"app": "web"}}]}).encode(),
]
