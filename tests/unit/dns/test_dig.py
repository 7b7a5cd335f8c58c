"""A real client, dig, against the server on the loopback interface."""

import re
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.unit.dns.loopback import SERVER, Served, always, run
from tests.unit.dns.support import ME, register

pytestmark = pytest.mark.skipif(shutil.which("dig") is None, reason="dig is not installed (Debian: bind9-dnsutils)")


async def dig(served: Served, *words: str) -> str:
    command = ["dig", f"@{SERVER}", "-p", str(served.port), "+tries=1", "+time=5", *words]
    result = await trio.run_process(command, capture_stdout=True, check=False, stderr=subprocess.STDOUT)
    return result.stdout.decode()


def status(output: str) -> tuple[str, str]:
    """Return the status and the flags of a reply in dig's words."""
    found = re.search(r"status: (\w+).*?flags: ([a-z ]*);", output, re.DOTALL)
    assert found, output
    return found[1], found[2]


SHORT = [
    ("c1.weave.local", ["10.32.0.1"]),
    ("c1.weave.local AAAA", ["fd00:32::1"]),
    ("C1.Weave.LOCAL", ["10.32.0.1"]),
    ("c1", ["10.32.0.1"]),
    ("+tcp c1.weave.local", ["10.32.0.1"]),
    ("+tcp +keepopen c1.weave.local c1.weave.local AAAA", ["10.32.0.1", "fd00:32::1"]),
    ("-x 10.32.0.1", ["c1.weave.local."]),
    ("-x fd00:32::1", ["c1.weave.local."]),
    ("-x 10.32.0.99", []),
    ("c1.weave.local ANY", ["10.32.0.1"]),
    ("+notcp c1.weave.local ANY", ["10.32.0.1"]),
    ("weave.local NS", ["ns.weave.local."]),
    ("ns.weave.local", [SERVER]),
    ("+noedns c1.weave.local", ["10.32.0.1"]),
    ("+nocookie +bufsize=512 c1.weave.local", ["10.32.0.1"]),
    ("+nsid +subnet=192.0.2.0/24 +padding=128 +dnssec c1.weave.local", ["10.32.0.1"]),
    ("+ednsopt=65001:abcd c1.weave.local", ["10.32.0.1"]),
    ("+edns=9 c1.weave.local", ["10.32.0.1"]),
    ("example.com", ["192.0.2.1"]),
    ("+tcp example.com", ["192.0.2.1"]),
    ("nope.weave.local", []),
]


@pytest.mark.parametrize(("words", "expected"), SHORT)
def test_short_answers(tmp_path: Path, words: str, expected: list[str]) -> None:
    async def test(served: Served) -> None:
        assert (await dig(served, "+short", *words.split())).splitlines() == expected

    run(test, tmp_path, [always()])


@pytest.mark.parametrize(("words", "code", "flags"), [
    ("c1.weave.local", "NOERROR", "qr aa rd ra"),
    ("+norec c1.weave.local", "NOERROR", "qr aa ra"),
    ("c1.weave.local TXT", "NOERROR", "qr aa rd ra"),
    ("nope.weave.local", "NXDOMAIN", "qr aa rd ra"),
    ("+tcp nope.weave.local", "NXDOMAIN", "qr aa rd ra"),
    ("+edns=1 +noednsneg c1.weave.local", "BADVERS", "qr rd ra"),
    ("+opcode=notify c1.weave.local", "NOTIMP", "qr rd ra"),
    ("version.bind CH TXT", "REFUSED", "qr rd ra"),
    ("+qr +header-only", "FORMERR", "qr rd ra"),
    ("+ignore big.weave.local", "NOERROR", "qr aa tc rd ra"),
    ("big.weave.local", "NOERROR", "qr aa rd ra"),
    ("example.com", "NOERROR", "qr rd ra"),
])
def test_headers(tmp_path: Path, words: str, code: str, flags: str) -> None:
    async def test(served: Served) -> None:
        for number in range(100):
            register(served.catalogue, ME, "big", f"10.40.{number}.1")
        output = await dig(served, *words.split())
        assert status(output.rpartition("Got answer")[2]) == (code, flags)
        assert "malformed" not in output
        assert "extra bytes" not in output

    run(test, tmp_path, [always()])


def test_a_zone_transfer_fails(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        assert "Transfer failed" in await dig(served, "weave.local", "AXFR")

    run(test, tmp_path)


def test_rotation_and_spelling(tmp_path: Path) -> None:
    async def test(served: Served) -> None:
        ask = partial(dig, served, "+nocookie", "+noall", "+answer", "mANy.weave.local")
        answers = [(await ask()).split() for _ in range(3)]
        assert {answer[0] for answer in answers} == {"mANy.weave.local."}
        assert len({answer[4] for answer in answers}) == 3

    run(test, tmp_path)
