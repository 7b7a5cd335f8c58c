"""Our own endpoints, as the other peers hear of them: which MACs and addresses are behind this host."""

from collections.abc import Callable
from dataclasses import replace

from weave.mesh.service import MeshService
from weave.names import PeerName
from weave.net import Endpoint
from weave.router.endpoints import CHANNEL, encode_endpoint


class Announcer:
    """Own the entries of this peer in the channel `endpoints`."""

    def __init__(self, mesh: MeshService, me: PeerName) -> None:
        self._mesh = mesh
        self._me = me
        self._local: dict[str, Endpoint] = {}
        self.on_changed: Callable[[], None] = lambda: None

    def local(self) -> list[Endpoint]:
        """Return what we announce, sorted by MAC."""
        return [self._local[mac] for mac in sorted(self._local)]

    def announce(self, endpoint: Endpoint) -> None:
        """Tell every peer that this endpoint is here, with these addresses."""
        ours = replace(endpoint, peer=self._me)
        if self._local.get(ours.mac) == ours:
            return
        self._local[ours.mac] = ours
        self._mesh.publish(CHANNEL, *encode_endpoint(ours))
        self.on_changed()

    def withdraw(self, mac: str) -> None:
        """Tell every peer that the endpoint is gone."""
        endpoint = self._local.pop(mac, None)
        if endpoint is not None:
            self._mesh.publish(CHANNEL, encode_endpoint(endpoint)[0], None)
            self.on_changed()
