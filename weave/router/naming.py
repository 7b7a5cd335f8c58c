"""Names of this host's containers: into the catalogue, to the other peers, and into the state file.

A name lives as long as its container, or until it is removed by hand; what was added by hand for something outside
(`weave dns-add` without a container) is remembered over restarts.
"""

from collections.abc import Sequence

from store import Store
from store.changes import Change, Delete, Put
from weave.addresses import IPAddress
from weave.api.errors import FeatureOff
from weave.dns import Catalogue
from weave.dns.labels import registered_name
from weave.mesh.entries import ChannelChange
from weave.mesh.service import MeshService
from weave.names import PeerName

CHANNEL = "dns"
TABLE = "router.names"


class Naming:
    """Own the entries of this peer in the channel `dns`, and feed the catalogue with everybody's."""

    def __init__(self, *, store: Store, mesh: MeshService, catalogue: Catalogue | None, me: PeerName) -> None:
        self._store = store
        self._mesh = mesh
        self._catalogue = catalogue
        self._me = me
        self._registered: set[bytes] = set()
        """The keys of our entries."""

    @property
    def enabled(self) -> bool:
        """Say whether this router answers names."""
        return self._catalogue is not None

    @property
    def catalogue(self) -> Catalogue:
        """Return the catalogue; raise `FeatureOff` where this router answers no names."""
        if self._catalogue is None:
            raise FeatureOff("this router answers no names (--no-dns)")
        return self._catalogue

    async def recover(self) -> None:
        """Publish again what we published in an earlier life."""
        for key, value in sorted((await self._store.read(TABLE)).items()):
            self._spread(key, value)

    async def add(self, container: str, fqdn: str, address: IPAddress) -> None:
        """Register a name with one address; adding it twice changes nothing."""
        changes = self.registration(container, [fqdn], [address])
        if changes:
            await self._store.commit(changes)
            self.spread(changes)

    def check(self, fqdn: str) -> None:
        """Raise `LocalError` for a name that could not be registered."""
        registered_name(fqdn, self.catalogue.domain)

    def is_meant(self, registered: str, fqdn: str | None) -> bool:
        """Say whether a name that was registered is the one given, however written; None means each."""
        domain = self.catalogue.domain
        return fqdn is None or registered_name(registered, domain) == registered_name(fqdn, domain)

    def registration(self, container: str, fqdns: Sequence[str], addresses: Sequence[IPAddress]) -> list[Change]:
        """Return the rows that register each name with each address, for the caller to commit and then `spread`.

        What is registered already needs none, so that taking back what was new leaves it alone.
        """
        rows = [self.catalogue.add(container, fqdn, address) for fqdn in fqdns for address in addresses]
        return [Put(TABLE, key, value) for key, value in rows if key not in self._registered]

    def removal(self, container: str, addresses: Sequence[IPAddress] | None) -> list[Change]:
        """Return the rows whose end removes every name that a container has (None) or has with these addresses.

        They are to be committed and then `spread`.
        """
        if self._catalogue is None:
            return []
        found = [self._catalogue.remove(container, None, address)
                 for address in ((None,) if addresses is None else addresses)]
        return [Delete(TABLE, key) for keys in found for key in keys]

    def taking_back(self, registered: Sequence[Change]) -> list[Change]:
        """Return the rows that take back what `registration` gave, to be committed and `spread` as those were."""
        return [Delete(row.table, row.key) for row in registered]

    def spread(self, changes: Sequence[Change]) -> None:
        """Let rows that are durable now take effect, here and at the other peers."""
        for change in changes:
            self._spread(change.key, change.value if isinstance(change, Put) else None)

    async def remove(self, container: str | None, fqdn: str | None, address: IPAddress | None) -> None:
        """Remove every name of ours that matches all that is given; no match is no error."""
        if self._catalogue is None:
            return
        keys = self._catalogue.remove(container, fqdn, address)
        if keys:
            await self._store.commit([Delete(TABLE, key) for key in keys])
        for key in keys:
            self._spread(key, None)

    def entries_changed(self, changes: Sequence[ChannelChange]) -> None:
        """Take in what other peers published."""
        if self._catalogue is not None:
            self._catalogue.entries_changed([(change.owner, change.key, change.value) for change in changes])

    def resolve(self, name: str) -> list[IPAddress]:
        """Return the addresses of a name in our domain."""
        return self.catalogue.addresses(name)

    def _spread(self, key: bytes, value: bytes | None) -> None:
        if value is None:
            self._registered.discard(key)
        else:
            self._registered.add(key)
        if self._catalogue is not None:
            self._catalogue.entries_changed([(self._me, key, value)])
        self._mesh.publish(CHANNEL, key, value)
