"""What the kernel reports of refused packets, by NFLOG: read, taken apart, never trusted beyond its length.

The rules report at a bounded rate (`nft_text.REPORTS_PER_S`), and what we do not read in time is lost: counters count,
reports explain. Where another program has our group, or the kernel lacks NFLOG, there are only counters.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from struct import Struct

import trio

from weave.addresses import IPAddress
from weave.errors import EnvironmentFailure
from weave.netlink.codec import Message, attribute, frame, read_attributes, read_error, split_datagram
from weave.netlink.constants import NETLINK_NETFILTER, NLM_F_ACK, NLM_F_REQUEST, NLMSG_ERROR
from weave.netlink.nftables import GENERIC
from weave.npc.nft_text import REPORT_BYTES, REPORT_GROUP

ULOG_PACKET = 4 << 8
ULOG_CONFIG = 4 << 8 | 1
CFG_CMD, CFG_MODE, CFG_TIMEOUT = 1, 2, 4
BIND, COPY_PACKET = 1, 2
PAYLOAD, PREFIX = 9, 10
FLUSH_CENTISECONDS = 10
RECEIVE_BYTES = 1 << 17
TRANSPORTS = {1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP"}
WITH_PORTS = frozenset({6, 17, 132})
_MODE = Struct(">IBx")
_U32 = Struct(">I")
_PORTS = Struct(">HH")


@dataclass(frozen=True, slots=True)
class Report:
    """One refused packet."""

    tag: str
    source: IPAddress
    destination: IPAddress
    protocol: str
    source_port: int
    destination_port: int
    """0 for what has no ports."""


@contextmanager
def listening() -> Iterator[socket.socket]:
    """Give a socket that receives reports; raise `EnvironmentFailure` where there will be none."""
    try:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    except OSError as exc:
        raise EnvironmentFailure(f"cannot open a netlink socket for reports: {exc.strerror}") from exc
    with opened:
        opened.bind((0, 0))
        opened.settimeout(5)
        for number, part in enumerate((
                attribute(CFG_CMD, bytes([BIND])), attribute(CFG_MODE, _MODE.pack(REPORT_BYTES, COPY_PACKET)),
                attribute(CFG_TIMEOUT, _U32.pack(FLUSH_CENTISECONDS))), 1):
            _configure(opened, part, number)
        opened.setblocking(False)
        yield opened


def _configure(opened: socket.socket, part: bytes, number: int) -> None:
    try:
        opened.send(frame(Message(ULOG_CONFIG, NLM_F_REQUEST | NLM_F_ACK,
                                  GENERIC.pack(0, 0, REPORT_GROUP) + part), number))
        codes = [read_error(notice)[0] for notice in split_datagram(opened.recv(RECEIVE_BYTES))
                 if notice.kind == NLMSG_ERROR]
    except OSError as exc:
        raise EnvironmentFailure(f"the kernel reports no refused packets: {exc.strerror or exc}") from exc
    if any(codes):
        raise EnvironmentFailure(f"the kernel reports no refused packets in group {REPORT_GROUP} (errno "
                                 f"{codes[0]}); does another program read that group?")


async def receive(opened: socket.socket) -> list[Report]:
    """Wait for reports; what is garbled is left out."""
    await trio.lowlevel.wait_readable(opened)
    try:
        data = opened.recv(RECEIVE_BYTES)
    except (BlockingIOError, OSError):
        return []  # or the kernel had more than we took: the counters know
    return read_reports(data)


def read_reports(data: bytes) -> list[Report]:
    """Return the reports of one datagram; raise `GarbledNetlink` for what is no netlink."""
    found = []
    for notice in split_datagram(data):
        if notice.kind != ULOG_PACKET:
            continue
        parts = read_attributes(notice.body, GENERIC.size)
        tag = parts.get(PREFIX, b"").partition(b"\0")[0].decode(errors="replace").strip()
        report = _read_packet(tag, parts.get(PAYLOAD, b""))
        if report is not None:
            found.append(report)
    return found


def _read_packet(tag: str, packet: bytes) -> Report | None:
    """Read the head of an IP packet; None where it is none. IPv6 extension headers are not followed."""
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= 20:
        start, protocol = (packet[0] & 15) * 4, packet[9]
        source, destination = packet[12:16], packet[16:20]
    elif version == 6 and len(packet) >= 40:
        start, protocol = 40, packet[6]
        source, destination = packet[8:24], packet[24:40]
    else:
        return None
    ports = (0, 0)
    if protocol in WITH_PORTS and len(packet) >= start + _PORTS.size:
        ports = _PORTS.unpack_from(packet, start)
    return Report(tag, ip_address(source), ip_address(destination), TRANSPORTS.get(protocol, str(protocol)), *ports)
