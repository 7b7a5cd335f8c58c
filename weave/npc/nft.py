"""Run `nft`: the adapter for whole tables and for changes that are more than elements.

Every change is one transaction; a refused one leaves the kernel as it was.
"""

import json
import shutil
import subprocess
from collections.abc import Callable

import trio

from weave.errors import EnvironmentFailure
from weave.npc.ruleset_change import ADMISSION_TABLE, POLICY_TABLE

DEADLINE_S = 60.0
"""A full load of a thousand policies takes a second; a machine may be very busy."""
ADVICE = "install it (Debian: apt install nftables)"


def require_nft() -> None:
    """Raise `EnvironmentFailure` where the program is missing."""
    if shutil.which("nft") is None:
        raise EnvironmentFailure(f"the program nft is missing, without which no policy can be enforced; {ADVICE}")


async def load(text: str, started: Callable[[int], None]) -> None:
    """Have one transaction done; `started` hears the pid of the process that does it."""
    try:
        with trio.fail_after(DEADLINE_S):
            process = await trio.lowlevel.open_process(
                ["nft", "-f", "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            started(process.pid)
            await _feed(process, text.encode())
    except trio.TooSlowError as exc:
        raise EnvironmentFailure(f"nft did not answer within {DEADLINE_S:g} s; it is tried again") from exc
    except OSError as exc:
        raise EnvironmentFailure(f"cannot run nft: {exc.strerror}; {ADVICE}") from exc


async def can(text: str) -> bool:
    """Tell whether the kernel would do a transaction; nothing of it is done."""
    try:
        with trio.fail_after(DEADLINE_S):
            done = await trio.run_process(["nft", "-c", "-f", "-"], stdin=text.encode(), capture_stdout=True,
                                          capture_stderr=True, check=False)
    except (OSError, trio.TooSlowError):
        return False
    return done.returncode == 0


async def counters() -> dict[str, int]:
    """Return the packets of each counter of our tables, by its name."""
    found: dict[str, int] = {}
    for family, name in (POLICY_TABLE, ADMISSION_TABLE):
        try:
            with trio.fail_after(DEADLINE_S):
                done = await trio.run_process(["nft", "-j", "list", "counters", "table", family, name],
                                              capture_stdout=True, capture_stderr=True, check=False)
            listed = json.loads(done.stdout or b"{}").get("nftables", [])
            found |= {f"{family} {item['counter']['name']}": int(item["counter"]["packets"])
                      for item in listed if "counter" in item}
        except (OSError, ValueError, KeyError, TypeError, trio.TooSlowError) as exc:
            raise EnvironmentFailure(f"cannot read the counters of our nftables tables: {exc}; {ADVICE}") from exc
    return found


async def _feed(process: trio.Process, octets: bytes) -> None:
    assert process.stdin is not None
    assert process.stderr is not None
    said = b""
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_write, process.stdin, octets)
            async for piece in process.stderr:
                said += piece[:1000]
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
        await process.stderr.aclose()
    if process.returncode:
        raise EnvironmentFailure(f"cannot change our nftables tables: {_first_line(said)}; does the kernel have "
                                 "nf_tables with the families inet and bridge, and connection tracking?")


async def _write(stream: trio.abc.SendStream, octets: bytes) -> None:
    async with stream:
        try:
            await stream.send_all(octets)
        except trio.BrokenResourceError:
            return  # it ended before it had read all, and says why on standard error


def _first_line(said: bytes) -> str:
    return said.decode(errors="replace").strip().partition("\n")[0]
