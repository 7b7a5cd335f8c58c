"""The agent's ways to the router of its node and to the policy controller: their sockets, asked from a thread.

What the router refuses is an answer (`Refused`); that it cannot be reached is one too (`Unreachable`). Both are
`LocalError` and pass through.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from weave.api.client import Client, Refused, Unreachable, decode_json
from weave.kube.resource import mapping

if TYPE_CHECKING:
    from weave.api.http1 import Answer

STATUS_DEADLINE_S = 5.0
OPERATION_DEADLINE_S = 60.0


class _Socket:
    """Whoever answers at one socket."""

    def __init__(self, socket: Path) -> None:
        self._client = Client(socket)

    async def _ask(self, method: str, *words: str, timeout_s: float) -> "Answer":
        ask = partial(self._client.request, method, *words, timeout_s=timeout_s)
        return await trio.to_thread.run_sync(ask, abandon_on_cancel=True)


class Door(_Socket):
    """The router at one socket."""

    async def is_ready(self) -> bool:
        """Say whether the router serves."""
        try:
            answer = await self._ask("GET", "status", timeout_s=STATUS_DEADLINE_S)
        except Unreachable:
            return False
        return answer.status == 200

    async def life(self) -> tuple[str, int]:
        """Return the router's own peer name, and a number that is another one after each start."""
        report = await trio.to_thread.run_sync(self._client.report, abandon_on_cancel=True)
        return report["Router"]["Name"], report["Router"]["UID"]

    async def reachable(self) -> frozenset[str]:
        """Return the peers that the router reaches."""
        report = await trio.to_thread.run_sync(self._client.report, abandon_on_cancel=True)
        return frozenset(peer["Name"] for peer in report["Router"]["Peers"] if peer["Reachable"])

    async def connect(self, targets: Sequence[str]) -> None:
        """Make these the router's only targets."""
        await self._call("POST", "connect", body={"peer": list(targets), "replace": True})

    async def expose(self) -> None:
        """Give the host an address on the network, and pods the host's way into the world."""
        await self._call("POST", "expose", body={"masquerade": True})

    async def take_over(self, peer: str) -> None:
        """Take over what a dead peer owned; that it owned nothing is as good."""
        try:
            await self._call("DELETE", "peer", peer)
        except Refused as refusal:
            if refusal.status != 404:
                raise

    async def stop(self) -> None:
        """End the router; what the kernel carries stays until it is wiped."""
        await self._call("POST", "stop", body={"wipe": False})

    async def _call(self, method: str, *words: str, body: Mapping[str, object] | None = None) -> None:
        ask = partial(self._client.call, method, *words, body=body, timeout_s=OPERATION_DEADLINE_S)
        await trio.to_thread.run_sync(ask, abandon_on_cancel=True)


class PolicyDoor(_Socket):
    """The policy controller at one socket."""

    async def stands(self) -> bool:
        """Say whether its rules are in the kernel, which close new pods until it knows them."""
        try:
            told = decode_json(await self._ask("GET", "policy", "status", timeout_s=STATUS_DEADLINE_S))
        except Unreachable:
            return False
        return mapping(mapping(told).get("kernel")).get("stands") is True
