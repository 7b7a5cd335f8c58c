"""The allocator as the router uses it: the core with a store, a clock and two ways out to the mesh.

Three parts and no policy. Callers feed events to the core and wait for their answers; the pump executes effects in
the order in which the core gave them; a timer sleeps until the core's deadline. While one commit is under way the
effects of later events gather, and the next commit takes all their rows at once: under load many answers share one
write to the disk, and still none leaves before its rows are durable.
"""

import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import TypeAlias

import trio

from store import Store, StoreError
from store.changes import Change
from weave.addresses import IPAddress, IPInterface, IPNetwork
from weave.errors import EnvironmentFailure, LocalError
from weave.ipam.core import IpamCore
from weave.ipam.effects import Answer, Effect, Outcome, Persist, Publish, SendTo
from weave.ipam.modes import InitMode
from weave.ipam.stored import table_names
from weave.ipam.views import IpamView
from weave.logs import RateLimit, fields
from weave.names import PeerName

log = logging.getLogger("weave.ipam")

Begin: TypeAlias = Callable[[IpamCore, int, float], list[Effect]]

STATUS_INTERVAL_S = 1.0
"""How often, at most, the log is told of a new status."""


class _Call:
    """A question to the core; its answer stays here, for whoever asks for it once more."""

    def __init__(self) -> None:
        self.outcome: Outcome | EnvironmentFailure = None
        self.is_decided = False
        """The core has answered, and cannot take it back; nobody is told before it is durable."""
        self.done = trio.Event()


@dataclass(frozen=True, slots=True)
class Reservation:
    """An address that was asked for."""

    decided: IPInterface | None
    """Which one it will be, where that is known already; nobody outside this host may learn of it yet."""
    settled: Callable[[], Awaitable[IPInterface]]
    """Wait until it is durable, and return it; called again, it says the same. Cancelling it abandons."""
    abandon: Callable[[], None]
    """Want it no longer: what waits is forgotten, and `settled` raises; what is decided already stays so."""


class IpamService:
    """Own the core of one range, and run it."""

    def __init__(
        self,
        *,
        me: PeerName,
        range_: IPNetwork,
        default_subnet: IPNetwork | None,
        init: InitMode,
        store: Store,
        publish: Callable[[bytes, bytes | None], None],
        send: Callable[[PeerName, bytes], None],
        rng: random.Random | None = None,
    ) -> None:
        self.core: IpamCore | None = None
        """The core, once `run` has read the store."""
        self._make_core: Callable[[Mapping[str, Mapping[bytes, bytes]]], IpamCore] = lambda stored: IpamCore(
            me=me, range_=range_, default_subnet=default_subnet, init=init, rng=rng or random.SystemRandom(),
            stored=stored)
        self._tables = table_names(range_.version)
        self._store = store
        self._publish = publish
        self._send = send
        self._effects: deque[Effect] = deque()
        self._calls: dict[int, _Call] = {}
        self._next_request = 1
        self._work = trio.Event()
        self._news = trio.Event()
        self._sleeps_until = inf
        self._early: list[Callable[[IpamCore, float], list[Effect]]] = []
        self._rate = RateLimit()
        self._status = ""
        self._reported_at = -inf

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Read the store, then work until cancelled; raise `LocalError` where the state makes no sense.

        Raises `EnvironmentFailure` when the store fails, after every caller was told so.
        """
        core = self._make_core({table: await self._store.read(table) for table in self._tables})
        self.core = core
        self._take(core, core.start(trio.current_time()))
        early, self._early = self._early, []
        for event in early:
            self._take(core, event(core, trio.current_time()))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_time, core)
            task_status.started()
            try:
                await self._pump()
            finally:
                self._fail(EnvironmentFailure("address allocation ended; is the router going down?"))

    # --- requests ------------------------------------------------------------------------------------------------

    async def allocate(self, ident: str, subnet: IPNetwork | None = None) -> IPInterface:
        """Return an address for `ident` in a subnet (None: the default), durably its own; may wait for ever."""
        return await self.reserve(ident, subnet).settled()

    def reserve(self, ident: str, subnet: IPNetwork | None = None) -> Reservation:
        """Begin to allocate: what happens on this host alone may begin before the address is durable."""
        return self._reserve(lambda core, request, now: core.allocate(request, ident, subnet, now))

    async def claim(self, ident: str, interface: IPInterface) -> None:
        """Reserve one address for `ident`; raise `AddressTaken` when another has it; may wait for ever."""
        await self.reserve_one(ident, interface).settled()

    def reserve_one(self, ident: str, interface: IPInterface) -> Reservation:
        """Begin to claim one address, as `reserve` does."""
        return self._reserve(lambda core, request, now: core.claim(request, ident, interface, now), interface)

    async def release(self, ident: str, address: IPAddress | None = None) -> None:
        """Free one address of `ident`, or all; raise `AddressNotHeld` for one that it does not hold."""
        await self._ask(lambda core, request, now: core.release(request, ident, address, now))

    async def prime(self) -> None:
        """Return once the range is divided; may wait for ever."""
        await self._ask(IpamCore.prime)

    async def takeover(self, peer: PeerName) -> int:
        """Take everything a dead peer owns; return how many addresses that was."""
        return _count(await self._ask(lambda core, request, now: core.takeover(request, peer, now)))

    async def surrender(self) -> int:
        """Give everything we own to another peer, for we leave; return how many addresses that was."""
        return _count(await self._ask(IpamCore.surrender))

    def lookup(self, ident: str, subnet: IPNetwork | None = None) -> list[IPInterface]:
        """Return the addresses of `ident`, in one subnet or all."""
        return self._running().lookup(ident, subnet)

    def owned(self) -> dict[str, list[IPInterface]]:
        """Return every address in use here, by who uses it."""
        return self._running().owned()

    def view(self) -> IpamView:
        """Return everything that a report says."""
        return self._running().view()

    # --- what the router tells -------------------------------------------------------------------------------------

    def entries_changed(self, changes: Sequence[tuple[PeerName, bytes, bytes | None]]) -> None:
        """Take in entries of the channel "ipam"."""
        self._tell(lambda core, now: core.entries_changed(changes, now))

    def message(self, source: PeerName, payload: bytes) -> None:
        """Take in a unicast message of kind "ipam"."""
        self._tell(lambda core, now: core.message(source, payload, now))

    def peers_changed(self, reachable: frozenset[PeerName], nicknames: Mapping[PeerName, str]) -> None:
        """Take note of who is reachable."""
        self._tell(lambda core, now: core.peers_changed(reachable, nicknames, now))

    def expect_nobody(self) -> None:
        """Take note that we shall connect to no peer by ourselves."""
        self._tell(lambda core, now: core.expect_nobody(now))

    # --- events in -------------------------------------------------------------------------------------------------

    def _running(self) -> IpamCore:
        if self.core is None:
            raise EnvironmentFailure("address allocation has not started yet")
        return self.core

    def _tell(self, event: Callable[[IpamCore, float], list[Effect]]) -> None:
        """Feed an event to the core, or keep it until the store is read."""
        if self.core is None:
            self._early.append(event)
        else:
            self._take(self.core, event(self.core, trio.current_time()))

    def _take(self, core: IpamCore, effects: Sequence[Effect]) -> None:
        self._effects.extend(effects)
        for effect in effects:
            if isinstance(effect, Answer) and effect.request in self._calls:
                call = self._calls[effect.request]
                call.outcome, call.is_decided = effect.outcome, True
        if effects:
            self._work.set()
        is_report_due = trio.current_time() >= self._reported_at + STATUS_INTERVAL_S
        if core.deadline() < self._sleeps_until or is_report_due:
            self._news.set()

    async def _ask(self, begin: Begin) -> IPInterface | int | None:
        """Put a request to the core and wait for its answer; cancelling the wait cancels the request.

        An allocation may be cancelled too late, when its address is on its way to the disk; it is then held, and
        asking again for the same ident, or releasing it, does what is right.
        """
        return await self._answer_to(*self._begin(begin))

    def _begin(self, begin: Begin) -> tuple[int, _Call]:
        core = self._running()
        request, call = self._next_request, _Call()
        self._next_request += 1
        self._calls[request] = call
        self._take(core, begin(core, request, trio.current_time()))
        return request, call

    def _reserve(self, begin: Begin, claimed: IPInterface | None = None) -> Reservation:
        request, call = self._begin(begin)

        async def settled() -> IPInterface:
            answer = await self._answer_to(request, call)
            address = claimed or answer
            assert not isinstance(address, int), "an allocation ends with an address"
            assert address is not None, "an allocation ends with an address"
            return address

        if call.outcome is None or isinstance(call.outcome, LocalError | EnvironmentFailure | int):
            decided = None
        else:
            decided = claimed or call.outcome
        return Reservation(decided, settled, partial(self._abandon, request, call))

    async def _answer_to(self, request: int, call: _Call) -> IPInterface | int | None:
        try:
            await call.done.wait()
        finally:
            self._abandon(request, call)
        if isinstance(call.outcome, LocalError | EnvironmentFailure):
            raise call.outcome
        return call.outcome

    def _abandon(self, request: int, call: _Call) -> None:
        """Have the core forget a request that waits; one that it has answered is ended by that answer."""
        if call.is_decided or self._calls.pop(request, None) is None:
            return
        call.outcome = EnvironmentFailure("nobody waits for this address any more")
        call.done.set()
        self._tell(lambda core, now: core.cancel(request, now))

    # --- effects out -----------------------------------------------------------------------------------------------

    async def _pump(self) -> None:
        """Execute effects in order: all rows that have gathered in one commit, then whatever followed them."""
        while True:
            await self._work.wait()
            self._work = trio.Event()
            batch = list(self._effects)
            self._effects.clear()
            rows = [change for effect in batch if isinstance(effect, Persist) for change in effect.changes]
            if rows:
                await self._commit(rows)
            for effect in batch:
                self._perform(effect)

    async def _commit(self, rows: Sequence[Change]) -> None:
        try:
            await self._store.commit(rows)
        except StoreError as exc:
            failure = EnvironmentFailure(f"address allocation could not be stored: {exc}")
            self._fail(failure)
            raise failure from exc

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Publish(key, value):
                self._tell_mesh(key, value)
            case SendTo(peer, payload):
                self._send(peer, payload)
            case Answer(request, outcome):
                self._end(request, outcome)
            case Persist():
                pass

    def _tell_mesh(self, key: bytes, value: bytes | None) -> None:
        """Publish an entry; the mesh refuses one too many, which a peer that writes nonsense could bring about."""
        try:
            self._publish(key, value)
        except LocalError as exc:
            more = self._rate.admit("publish", trio.current_time())
            if more is not None:
                log.warning("entry not published", extra=fields(reason=str(exc), more=more))

    def _end(self, request: int, outcome: Outcome | EnvironmentFailure) -> None:
        call = self._calls.pop(request, None)
        if call is not None:
            call.outcome = outcome
            call.done.set()

    def _fail(self, failure: EnvironmentFailure) -> None:
        for request in list(self._calls):
            self._end(request, failure)

    # --- time ------------------------------------------------------------------------------------------------------

    async def _keep_time(self, core: IpamCore) -> None:
        """Call the core when it wants to be called."""
        while True:
            self._news = trio.Event()
            self._sleeps_until = min(core.deadline(), trio.current_time() + self._report(core))
            with trio.move_on_at(self._sleeps_until):
                await self._news.wait()
            if trio.current_time() >= core.deadline():
                self._take(core, core.tick(trio.current_time()))

    def _report(self, core: IpamCore) -> float:
        """Tell the log of a new status; return after how many seconds to look again."""
        now = trio.current_time()
        if now < self._reported_at + STATUS_INTERVAL_S:
            return self._reported_at + STATUS_INTERVAL_S - now
        status, self._reported_at = core.status(), now
        if status == self._status:
            return inf
        level = logging.WARNING if status.startswith("conflict") else logging.INFO
        self._status = status
        log.log(level, "address allocation", extra=fields(status=status, range=str(core.universe.network)))
        return STATUS_INTERVAL_S


def _count(outcome: IPInterface | int | None) -> int:
    assert isinstance(outcome, int), "whole estates are counted"
    return outcome
