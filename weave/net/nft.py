"""Run `nft`: the only adapter to nftables for whole tables.

Every change is one transaction; a refused one leaves the kernel as it was. In a network namespace other than the
process's own, `nft` is started there by `nsenter`.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from subprocess import CompletedProcess

import trio

from weave.errors import EnvironmentFailure
from weave.net.guard import FAMILY, Json, Shape, read_listing, transaction
from weave.net.limits import NFT_DEADLINE_S

ADVICE = "install it (Debian: apt install nftables)"


def require_nft(*, elsewhere: bool) -> None:
    """Raise `EnvironmentFailure` where a program we run is missing."""
    for program in ("nft", "nsenter") if elsewhere else ("nft",):
        if shutil.which(program) is None:
            raise EnvironmentFailure(f"the program {program} is missing, without which strangers could inject packets; "
                                     f"{ADVICE if program == 'nft' else 'install util-linux'}")


async def apply(commands: Sequence[Json], namespace: int | None) -> None:
    """Have the commands done, all or none."""
    result = await _run(["-j", "-f", "-"], transaction(commands), namespace)
    if result.returncode:
        raise EnvironmentFailure(f"cannot change our nftables tables: {_first_line(result.stderr)}; "
                                 "does the kernel have nf_tables with inet tables and NAT?")


async def load(text: str, namespace: int | None) -> None:
    """Have a transaction done that is written in nft's own words, all or none."""
    result = await _run(["-f", "-"], text.encode(), namespace)
    if result.returncode:
        raise EnvironmentFailure(f"cannot guard the ports of containers: {_first_line(result.stderr)}; does the kernel "
                                 "have nf_tables with bridge tables? Without them run with --no-source-guard")


async def version() -> str:
    """Return what `nft` says of its version."""
    result = await _run(["--version"], b"", None)
    return result.stdout.decode(errors="replace").strip()


async def listing(table: str, namespace: int | None) -> tuple[Shape, int] | None:
    """Return what the kernel has under that name and the packets it dropped; None where it has no such table."""
    found = await raw_listing(FAMILY, table, namespace)
    return None if found is None else read_listing(found)


async def raw_listing(family: str, table: str, namespace: int | None) -> Mapping[str, object] | None:
    """Return what `nft -j list table` prints; None where the kernel has no such table."""
    result = await _run(["-j", "list", "table", family, table], b"", namespace)
    if result.returncode:
        if b"No such file or directory" in result.stderr:
            return None
        raise EnvironmentFailure(f"cannot list the nftables table {table}: {_first_line(result.stderr)}")
    try:
        found = json.loads(result.stdout)
    except json.JSONDecodeError as exc:
        raise EnvironmentFailure(f"cannot read what nft lists ({exc}); install nftables 1.0 or newer") from exc
    return found if isinstance(found, dict) else {}


async def _run(arguments: Sequence[str], stdin: bytes, namespace: int | None) -> CompletedProcess[bytes]:
    command = ["nft", *arguments]
    passed: tuple[int, ...] = ()
    if namespace is not None:
        command = ["nsenter", f"--net=/proc/self/fd/{namespace}", *command]
        passed = (namespace,)
    start = partial(trio.run_process, command, stdin=stdin, capture_stdout=True, capture_stderr=True,
                    check=False, pass_fds=passed)
    try:
        with trio.fail_after(NFT_DEADLINE_S):
            return await start()
    except trio.TooSlowError as exc:
        raise EnvironmentFailure(f"nft did not answer within {NFT_DEADLINE_S:g} s; it is tried again") from exc
    except OSError as exc:
        raise EnvironmentFailure(f"cannot run nft: {exc.strerror}; {ADVICE}") from exc


def _first_line(stderr: bytes) -> str:
    return stderr.decode(errors="replace").strip().partition("\n")[0]
