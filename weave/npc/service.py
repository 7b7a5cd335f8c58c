"""The controller: from what the source and the router tell to what the kernel holds.

    source ──► Holdings ─┐
                         ├─► Placement ──► Compiler ──► Enforcer ──► kernel
    router ──► Endpoints ┘                  (pure)

Changes coalesce: whoever brings one wakes the one task that compiles and enforces, which takes everything that came
meanwhile. Nothing is enforced before the source is synced and the router has answered once: what an earlier run left in
the kernel stands until then, and where there is nothing, new containers stay closed.
"""

import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio

from weave.errors import EnvironmentFailure, WeaveError
from weave.logs import RateLimit, fields
from weave.npc import kernel_reports, nft
from weave.npc.compiler import Compiler, Local
from weave.npc.endpoint import Endpoint, EndpointBook
from weave.npc.enforcer import Enforcer, Options, prepare_bridge
from weave.npc.kernel import Kernel
from weave.npc.kernel_reports import Report
from weave.npc.nft_text import report_text, without_reports
from weave.npc.placement import Mode, Placed, Placement
from weave.npc.router_watch import RouterWatch
from weave.npc.ruleset import Ruleset
from weave.npc.source import Change, Holdings, Source

log = logging.getLogger("weave.npc")

RETRY_S = 1.0
COALESCE_S = 0.005
"""A deployment's pods come one by one, a few milliseconds apart. At least as long as the last compilation took, so
that a busy cluster costs at most half of a core."""
MAX_COUNTED_PORTS = 1000
"""Ports told apart in the counters; strangers choose them."""


@dataclass(slots=True)
class Times:
    """How long the last compilation and change took, in seconds."""

    compile_s: float = 0.0
    enforce_s: float = 0.0


@dataclass(slots=True)
class Controller:
    """Own everything between the source and the kernel."""

    source: Source
    router_socket: Path
    mode: Mode
    kernel: Kernel
    options: Options
    node_name: str = ""
    holdings: Holdings = field(default_factory=Holdings)
    book: EndpointBook = field(default_factory=EndpointBook)
    times: Times = field(default_factory=Times)
    blocked: dict[tuple[str, str], int] = field(default_factory=dict)
    """Reported packets by transport and destination port."""
    placed: Placed | None = None
    """What was last compiled."""
    trouble: str = "nothing is enforced yet"
    """Why the kernel does not hold what it should; empty where it does."""
    reports_trouble: str = ""
    enforced: trio.Event = field(default_factory=trio.Event)
    """Policy is in force for the first time."""
    enforcer: Enforcer = field(init=False)
    watch: RouterWatch = field(init=False)
    _reports: bool = True
    _compiler: Compiler = field(default_factory=Compiler)
    _placement: Placement = field(init=False)
    _woken: trio.Event = field(default_factory=trio.Event)
    _limit: RateLimit = field(default_factory=RateLimit)

    def __post_init__(self) -> None:
        self.enforcer = Enforcer(self.options, self.kernel)
        self.watch = RouterWatch(self.router_socket, self.book, self._wake)
        self._placement = Placement(self.mode)

    async def run(self) -> None:
        """Enforce policy; never returns."""
        prepare_bridge()
        self._reports = await nft.can(report_text())
        if not self._reports:
            self.reports_trouble = "this kernel cannot report packets (nft_log); they are counted alone"
            log.warning("refused packets are not logged", extra=fields(reason=self.reports_trouble))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.source.run, self._deliver)
            nursery.start_soon(self.watch.run)
            nursery.start_soon(self.enforcer.keep)
            if self._reports:
                nursery.start_soon(self._explain)
            while True:
                with trio.move_on_at(self._deadline()):
                    await self._woken.wait()
                await trio.sleep(max(COALESCE_S, self.times.compile_s))
                self._woken = trio.Event()
                await self._settle()

    @property
    def is_ready(self) -> bool:
        """Tell whether the kernel holds what the source says."""
        return not self.trouble

    def _deliver(self, changes: Sequence[Change]) -> None:
        if self.holdings.take(changes):
            self._wake()

    def _wake(self) -> None:
        self._woken.set()

    def _deadline(self) -> float:
        return self.book.deadline() or trio.current_time() + 3600

    async def _settle(self) -> None:
        endpoints = self.book.endpoints(trio.current_time())
        try:
            if self.book.told and self.holdings.synced:
                await self._enforce(endpoints)
            elif self.book.told:
                await self._close(endpoints)
        except EnvironmentFailure as exc:
            self._fail(exc)
            await trio.sleep(RETRY_S + random.random() * RETRY_S)  # noqa: S311 - jitter
            self._wake()

    async def _enforce(self, endpoints: Sequence[Endpoint]) -> None:
        start = time.perf_counter()
        placed = self._placement.place(self.holdings.cluster, endpoints)
        rules = self._compiler.compile(placed.cluster, placed.local)
        compiled = time.perf_counter()
        await self.enforcer.enforce(rules if self._reports else without_reports(rules))
        self.times = Times(compiled - start, time.perf_counter() - compiled)
        first, self.placed, self.trouble = bool(self.trouble), placed, ""
        self.enforced.set()
        if first:
            log.info("policy is enforced", extra=fields(
                policies=len(placed.cluster.policies) + len(placed.cluster.cluster_policies),
                pods=len(placed.cluster.pods), local=len(placed.local.pods), chains=len(rules.chains),
                sets=len(rules.sets)))

    async def _close(self, endpoints: Sequence[Endpoint]) -> None:
        """Let those that are here already talk on, and nobody new, until policy is known."""
        self.trouble = f"policy is not known yet: {self.holdings.state.sentence}"
        if self.kernel.tables() != (None, None) or self.enforcer.loaded is not None:
            return
        here = frozenset(address for endpoint in endpoints if endpoint.is_local
                         for address in endpoint.addresses)
        await self.enforcer.enforce(self._compiler.compile(self.holdings.cluster, Local(others=here)))
        log.warning("no policy is known yet: new containers stay closed until it is")

    def _fail(self, exc: WeaveError) -> None:
        self.trouble = str(exc)
        log.error("cannot enforce policy; trying again", extra=fields(reason=exc))

    async def _explain(self) -> None:
        """Log refused packets with the policy that refused them; never returns."""
        while True:
            try:
                with kernel_reports.listening() as opened:
                    self.reports_trouble = ""
                    while True:
                        for report in await kernel_reports.receive(opened):
                            self._explain_one(report)
            except EnvironmentFailure as exc:
                if self.reports_trouble != str(exc):
                    log.warning("refused packets are counted but not logged", extra=fields(reason=exc))
                self.reports_trouble = str(exc)
            await trio.sleep(60 * RETRY_S)

    def _explain_one(self, report: Report) -> None:
        where = (report.protocol.lower(), str(report.destination_port))
        if where not in self.blocked and len(self.blocked) >= MAX_COUNTED_PORTS:
            where = (where[0], "other")
        self.blocked[where] = self.blocked.get(where, 0) + 1
        rules: Ruleset | None = self.enforcer.loaded
        refusal = None if rules is None else rules.refusals.get(report.tag)
        held_back = self._limit.admit(f"{report.tag} {report.source} {report.destination}", trio.current_time())
        if held_back is None:
            return
        log.warning("refused by policy", extra=fields(
            direction="?" if refusal is None else refusal.direction.value,
            policy="?" if refusal is None else refusal.words,
            protocol=report.protocol, source=report.source, source_port=report.source_port,
            destination=report.destination, port=report.destination_port, held_back=held_back))
