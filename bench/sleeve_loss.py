"""TCP pod to pod through the sleeve over an underlay that loses packets, beside the bare underlay with the same loss.

Segmentation offload is off on the underlay's cables, so that what is lost is a packet of 1,500 bytes, as on real wires.
"""

import argparse
import array
import fcntl
import socket
import struct
from collections.abc import Sequence

from bench.arena import RAW, SLEEVE, WIREGUARD, Arena, Side, arena
from bench.harness import run
from bench.iperf import Path
from bench.report import Result, Row, Verdict
from bench.stats import paired_ratio, turns
from weave.lab import kernel
from weave.lab.names import SWITCH, namespace
from weave.net.namespace import namespace as opened
from weave.net.namespace import run_there

NAME = "sleeve-loss"
MEASURED = "TCP pod to pod, encrypted ÷ raw veth, each with 0.1% and 1% of packets lost"
GOAL = "≥ 0.7; ≥ 0.5"

LAB = "benchloss"
GIGA = 1e9
LOSSES = {"none": (0, None), "0.1%": (10, 0.7), "1%": (100, 0.5)}
"""How many of 10,000 packets are lost, and the goal."""
_SIOCETHTOOL = 0x8946
_GET_STRINGS, _GET_COUNT, _SET_FEATURES, _FEATURES = 0x1B, 0x37, 0x3B, 4
_STRING_BYTES = 32
_OFFLOADS = ("tx-tcp-segmentation", "tx-tcp6-segmentation", "tx-udp-segmentation", "tx-generic-segmentation")
_TABLE = "benchloss"


def main(argv: Sequence[str]) -> int:
    """Run the bench."""
    return run(NAME, measure, argv, options=_options)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5, help="times that every side is measured")
    parser.add_argument("--seconds", type=int, default=3, help="length of one stream")
    parser.add_argument("--congestion", default="cubic", help="TCP congestion control of every side")


def measure(given: argparse.Namespace) -> Result:
    """For each loss let all sides take turns; compare."""
    rows: list[Row] = []
    verdicts: list[Verdict] = []
    with arena(LAB, with_nebula=False) as there:
        for host in there.hosts():
            _segment_on_the_wire(host)
        for loss, (share, goal) in LOSSES.items():
            _lose(there, share)
            rates: dict[str, list[float]] = {}
            for name in turns([SLEEVE, WIREGUARD, RAW], given.rounds):
                rates.setdefault(name, []).append(_rate(there.sides[name], given))
            rows += [Row.of(f"{loss} lost: {name}", [rate / GIGA for rate in samples], "Gb/s")
                     for name, samples in rates.items()]
            ratio = paired_ratio(rates[SLEEVE], rates[RAW])
            if goal is None:
                rows.append(Row(f"{loss} lost: sleeve ÷ underlay", ratio))
            else:
                verdicts.append(Verdict(f"over_raw_at_{loss}", ratio, goal))
    return Result(NAME, rows, verdicts, [
        f"one stream of {given.seconds} s, {given.congestion}, {given.rounds} rounds in turns; no offload on the wire"])


def _rate(side: Side, given: argparse.Namespace) -> float:
    return Path(side.client, side.address, given.congestion).bits_per_second(given.seconds)


def _lose(there: Arena, share: int) -> None:
    """Drop so many of 10,000 packets on the switch."""
    rules = (f"table bridge {_TABLE}\ndelete table bridge {_TABLE}\ntable bridge {_TABLE} {{\n"
             "chain lose { type filter hook forward priority 0; policy accept;\n"
             f"ether type ip numgen random mod 10000 < {share} drop\n}}\n}}\n")
    kernel.run("ip", "netns", "exec", namespace(there.lab, SWITCH), "nft", "-f", "-", stdin=rules)


def _segment_on_the_wire(host: str) -> None:
    """Switch the segmentation offloads of a host's eth0 off."""

    with opened(kernel.NETNS_DIR / host) as descriptor:
        run_there(descriptor, _switch_off)


def _switch_off() -> None:
    """Do what `ethtool -K eth0 ... off` does, which is not everywhere."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        count = struct.unpack_from("=I", _ask(sock, struct.pack("=IIQI", _GET_COUNT, 0, 1 << _FEATURES, 0)), 16)[0]
        answer = _ask(sock, struct.pack("=III", _GET_STRINGS, _FEATURES, count) + bytes(count * _STRING_BYTES))
        names = [answer[12 + at * _STRING_BYTES:][:_STRING_BYTES].rstrip(b"\0").decode() for at in range(count)]
        blocks = -(-count // 32)
        valid = [0] * blocks
        for at, name in enumerate(names):
            if name in _OFFLOADS:
                valid[at // 32] |= 1 << at % 32
        _ask(sock, struct.pack("=II", _SET_FEATURES, blocks) + b"".join(struct.pack("=II", bits, 0) for bits in valid))


def _ask(sock: socket.socket, request: bytes) -> bytes:
    """Have the kernel read and rewrite a request about eth0."""
    value = array.array("B", request)
    fcntl.ioctl(sock, _SIOCETHTOOL, struct.pack("16sP16x", b"eth0", value.buffer_info()[0]))
    return value.tobytes()
