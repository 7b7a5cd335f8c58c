"""Our own endpoints, as the other peers hear of them: which MACs and addresses are behind this host.

They hear of it a moment after we know. Whoever asked for the change is answered first, for signing and spreading take
as long as a third of an attachment, and containers that start together are told of together.
"""

import logging
from collections.abc import Callable
from dataclasses import replace

import trio

from weave.errors import LocalError
from weave.logs import fields
from weave.mesh.service import MeshService
from weave.names import PeerName
from weave.net import Endpoint
from weave.router.endpoints import CHANNEL, encode_endpoint, key_of

log = logging.getLogger("weave.announce")

GATHER_S = 0.002


class Announcer:
    """Own the entries of this peer in the channel `endpoints`."""

    def __init__(self, mesh: MeshService, me: PeerName) -> None:
        self._mesh = mesh
        self._me = me
        self._local: dict[str, Endpoint] = {}
        self._news: dict[bytes, bytes | None] = {}
        """What is to be told, by key."""
        self._has_news = trio.Event()
        self.on_changed: Callable[[], None] = lambda: None

    def local(self) -> list[Endpoint]:
        """Return what we announce, sorted by MAC."""
        return [self._local[mac] for mac in sorted(self._local)]

    def announce(self, endpoint: Endpoint) -> None:
        """Tell every peer soon that this endpoint is here, with these addresses.

        Raise `LocalError` where no peer would take that.
        """
        ours = replace(endpoint, peer=self._me)
        if self._local.get(ours.mac) == ours:
            return
        key, value = encode_endpoint(ours)
        self._mesh.check(CHANNEL, key, value)
        self._local[ours.mac] = ours
        self._tell(key, value)

    def withdraw(self, mac: str, container: str, interface: str) -> None:
        """Tell every peer soon that the endpoint is gone; one of somebody else with that MAC stays."""
        ours = self._local.get(mac)
        if ours is not None and (ours.container, ours.interface) == (container, interface):
            del self._local[mac]
            self._tell(key_of(mac), None)

    def _tell(self, key: bytes, value: bytes | None) -> None:
        self._news[key] = value
        self._has_news.set()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell until cancelled; what was announced before is told first."""
        task_status.started()
        while True:
            await self._has_news.wait()
            await trio.sleep(GATHER_S)
            self._has_news = trio.Event()
            news, self._news = self._news, {}
            for key, value in news.items():
                try:
                    self._mesh.publish(CHANNEL, key, value)
                except LocalError as exc:  # others took the room since it was checked
                    log.warning("an endpoint is not announced", extra=fields(mac=key.hex(":"), reason=exc))
            self.on_changed()
