"""Make traces: look at this host's kernel for the ends that are here, ask the routers of the ends that are not.

A router answers for its own end alone, and only what it would tell its operator of a way between two addresses. At most
`MAX_WAITING` questions wait; more are dropped and counted, and whoever asked says so after `ANSWER_S`.
"""

from collections import Counter
from collections.abc import Callable

import trio

from weave.api.control import Attachment
from weave.api.report import Report
from weave.api.trace import LegReport, StepReport, TraceReport
from weave.errors import EnvironmentFailure, RemoteError
from weave.mesh.service import MeshService
from weave.names import PeerName
from weave.net import Datapath, InsideState
from weave.router.containers import Containers
from weave.router.trace.ends import End, at_address, find_ends
from weave.router.trace.legs import Look, step, steps
from weave.router.trace.messages import KIND, Answer, Question, decode, encode_answer, encode_question

ANSWER_S = 3.0
"""A router that is busy programming the kernel takes a second."""
MAX_WAITING = 16


class Tracer:
    """Own the questions that are under way."""

    def __init__(self, *, mesh: MeshService, datapath: Datapath, containers: Containers, report: Callable[[], Report],
                 routes_subnets: bool) -> None:
        self.refused: Counter[str] = Counter()
        self._mesh = mesh
        self._datapath = datapath
        self._containers = containers
        self._report = report
        self._routes_subnets = routes_subnets
        self._number = 0
        self._asked: dict[tuple[PeerName, int], trio.MemorySendChannel[Answer]] = {}
        self._send, self._receive = trio.open_memory_channel[tuple[PeerName, Question]](MAX_WAITING)

    async def trace(self, source: str, destination: str) -> TraceReport:
        """Return what becomes of a packet between two ends, there and back."""
        report = self._report()
        one, other = find_ends(report, source, destination)
        legs = [await self._leg(report, one, other)]
        if other.endpoint is not None:
            legs.append(await self._leg(report, other, one))
        return {"From": one.report(), "To": other.report(), "Legs": legs}

    async def _leg(self, report: Report, end: End, other: End) -> LegReport:
        assert end.endpoint is not None
        peer, nickname = end.endpoint["Peer"], end.endpoint["NickName"]
        found = (list(steps(report, await self._look(end, other), end, other)) if end.is_local
                 else await self._ask(PeerName(peer), nickname, end, other))
        return {"Peer": peer, "NickName": nickname, "Steps": found}

    async def _look(self, end: End, other: End) -> Look:
        """Look at what the kernel has for one leg."""
        way = None if other.endpoint is None else self._datapath.way_to(other.address, other.endpoint["MAC"])
        if end.is_host:
            return Look(None, way, routes_subnets=self._routes_subnets)
        assert end.endpoint is not None
        key = (end.endpoint["ContainerID"], end.endpoint["Interface"])
        attached = next((item for item in self._containers.attachments() if (item.container, item.interface) == key),
                        None)
        is_admitted = self._datapath.are_admitted([end.address])
        try:
            inside = None if attached is None else await self._inspect(attached)
        except EnvironmentFailure as exc:
            return Look(None, way, str(exc), is_admitted, self._routes_subnets)
        return Look(inside, way, "", is_admitted, self._routes_subnets)

    async def _inspect(self, attached: Attachment) -> InsideState | None:
        if attached.netns is None:
            raise EnvironmentFailure("it was found again after a restart, and where its namespace is nobody said")
        return await self._datapath.inspect(attached.container, attached.interface, attached.netns)

    # -- with other routers -------------------------------------------------------------------------------------------

    async def _ask(self, peer: PeerName, nickname: str, end: End, other: End) -> list[StepReport]:
        """Return the steps as the router of the other host has them."""
        if not self._mesh.core.is_reachable(peer):
            return [step("router", "doubt", f"{nickname} cannot be asked: its router is not heard of")]
        self._number += 1
        key = (peer, self._number)
        send, receive = trio.open_memory_channel[Answer](1)
        self._asked[key] = send
        try:
            with trio.move_on_after(ANSWER_S):
                self._mesh.send(peer, KIND, encode_question(Question(self._number, end.address, other.address)))
                return list((await receive.receive()).steps)
        finally:
            del self._asked[key]
        return [step("router", "doubt", f"{nickname} did not answer within {ANSWER_S:g} s; is its router of an older "
                                        "version?")]

    def message(self, peer: PeerName, payload: bytes) -> None:
        """Take in what a peer asks or answers; what nobody waits for, or there is no room for, is dropped."""
        try:
            message = decode(payload)
        except RemoteError:
            self.refused["malformed trace"] += 1
            return
        try:
            if isinstance(message, Question):
                self._send.send_nowait((peer, message))
            elif (peer, message.number) in self._asked:
                self._asked[peer, message.number].send_nowait(message)
        except trio.WouldBlock:
            self.refused["too many traces"] += 1

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Answer other routers until cancelled, one after the other."""
        task_status.started()
        async for peer, question in self._receive:
            try:
                found = await self._answer(question)
            except EnvironmentFailure as exc:
                found = [step("router", "doubt", f"the kernel of this host cannot be looked at: {exc}")]
            self._mesh.send(peer, KIND, encode_answer(question.number, found))

    async def _answer(self, question: Question) -> list[StepReport]:
        report = self._report()
        end, other = at_address(report, question.source), at_address(report, question.destination)
        if not end.is_local:
            where = f"; it is on {end.endpoint['NickName']}" if end.endpoint is not None else ""
            return [step("router", "broken", f"nothing here has {end.address}{where}")]
        return list(steps(report, await self._look(end, other), end, other))
