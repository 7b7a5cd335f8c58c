"""How many addresses a second one router gives out for good, beside what its disk can do.

The allocator runs as in the router, with the real store. Its peer is the disk itself: one block written and flushed
(fdatasync) at a time, the least that any promise can cost. In sequence the two compare call by call; with many callers
at once the allocator writes many promises with one flush.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from bench.harness import run, scratch
from bench.report import Result, Row, Verdict
from bench.stats import paired_ratio, turns

if TYPE_CHECKING:
    from store import Store
    from weave.ipam import IpamService

NAME = "ipam"
MEASURED = "durable allocations per second, one router ÷ fdatasync calls per second of the disk"
GOAL = "≥ 0.5"

DISK, SERIAL, GROUPED, STORE = "fdatasync", "allocations, one after the other", "allocations, many at once", "commits"
BLOCK_BYTES = 4096
BLOCKS = 1024
WARM_UP_ALLOCATIONS = 1500
"""Until the store's log has reached its full length once, every write makes its file longer, which costs more."""


def main(argv: Sequence[str]) -> int:
    """Run the bench."""
    return run(NAME, measure, argv, options=_options)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=8, help="times that every side is measured")
    parser.add_argument("--seconds", type=float, default=0.7, help="length of one measurement")
    parser.add_argument("--callers", type=int, default=64, help="of the many at once")
    parser.add_argument("--directory", default="/var/tmp", help="where the database is made; must be on a disk")


def measure(given: argparse.Namespace) -> Result:
    """Let disk and allocator take turns."""
    import trio

    with scratch(NAME, given.directory) as place:
        rates = trio.run(_measure, given, place)
    rows = [Row.of(f"{DISK} of {BLOCK_BYTES} bytes", rates[DISK], "/s"),
            Row.of("store: commits of one row, one after the other", rates[STORE], "/s"),
            Row.of(SERIAL, rates[SERIAL], "/s"),
            Row.of(f"allocations, {given.callers} callers at once", rates[GROUPED], "/s")]
    ratio = paired_ratio(rates[SERIAL], rates[DISK])
    rows.append(Row("one after the other ÷ fdatasync", ratio))
    rows.append(Row("many at once ÷ fdatasync", paired_ratio(rates[GROUPED], rates[DISK])))
    return Result(NAME, rows, [Verdict("ratio", ratio, 0.5)],
                  ["the disk overwrites one block at a time: nothing durable can be faster"])


async def _measure(given: argparse.Namespace, place: Path) -> dict[str, list[float]]:
    import trio

    from store import open_store
    from store.changes import Put

    idents, keys = (f"{number:064x}" for number in count()), count()
    async with open_store(place / "weave.db") as store, trio.open_nursery() as nursery:
        service = _service(store)
        await nursery.start(service.run)
        service.expect_nobody()

        async def allocate() -> None:
            await service.allocate(next(idents))

        async def commit() -> None:
            await store.commit([Put("bench", next(keys).to_bytes(8, "big"), bytes(100))])

        for _ in range(WARM_UP_ALLOCATIONS):
            await allocate()
        with _flusher(place / "block") as flush:
            sides: dict[str, Callable[[], Awaitable[float]]] = {
                DISK: lambda: _flush_rate(flush, given.seconds),
                STORE: lambda: _rate(commit, 1, given.seconds),
                SERIAL: lambda: _rate(allocate, 1, given.seconds),
                GROUPED: lambda: _rate(allocate, given.callers, given.seconds),
            }
            rates: dict[str, list[float]] = {name: [] for name in sides}
            for name in turns(list(sides), given.rounds):
                rates[name].append(await sides[name]())
        nursery.cancel_scope.cancel()
    return rates


def _service(store: Store) -> IpamService:
    """Return an allocator that owns the whole default range, alone in its mesh."""
    from weave.addresses import parse_network
    from weave.ipam import IpamService, Seed
    from weave.names import parse_peer_name
    from weave.settings import DEFAULT_RANGE

    me = parse_peer_name("7a:00:00:00:00:01")
    return IpamService(me=me, range_=parse_network(DEFAULT_RANGE), default_subnet=None, init=Seed((me,)), store=store,
                       publish=lambda _key, _value: None, send=lambda _peer, _payload: None)


async def _rate(act: Callable[[], Awaitable[None]], callers: int, seconds: float) -> float:
    """Return how often a second so many callers get it done."""
    import trio

    done = 0
    began = time.perf_counter()

    async def call() -> None:
        nonlocal done
        while time.perf_counter() - began < seconds:
            await act()
            done += 1

    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(call)
    return done / (time.perf_counter() - began)


@contextmanager
def _flusher(path: Path) -> Iterator[Callable[[], None]]:
    """Give a function that overwrites a block of a file of full length and flushes it."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    places = count()
    try:
        os.pwrite(handle, bytes(BLOCKS * BLOCK_BYTES), 0)
        os.fsync(handle)

        def flush() -> None:
            number = next(places)
            os.pwrite(handle, number.to_bytes(8, "big") * (BLOCK_BYTES // 8), number % BLOCKS * BLOCK_BYTES)
            os.fdatasync(handle)

        yield flush
    finally:
        os.close(handle)


async def _flush_rate(flush: Callable[[], None], seconds: float) -> float:
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        flush()
        done += 1
    return done / (time.perf_counter() - began)
