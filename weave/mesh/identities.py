"""Which key stands behind which name: the first one seen, for as long as anything of the peer is remembered.

A name is 48 bits of a hash, short enough to be forged on purpose; so the first key that shows itself under a name is
pinned, and entries under another key with the same name are refused.
"""

from weave.errors import RemoteError
from weave.mesh import limits
from weave.mesh.entries import Verifier
from weave.names import PeerName

DUPLICATE_NAME = "duplicate name"
WRONG_NAME = "name does not belong to the key"
BAD_IDENTITY = "undecodable identity"
TOO_MANY = "too many peers"


class Identities:
    """The pinned identities."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._pinned: dict[PeerName, bytes] = {}

    def of(self, name: PeerName) -> bytes | None:
        """Return the identity pinned under a name."""
        return self._pinned.get(name)

    def admit(self, name: PeerName, identity: bytes) -> str:
        """Pin an identity under a name, or find it pinned; return why not, or nothing."""
        refusal = self.refusal(name, identity)
        if not refusal:
            self._pinned[name] = identity
        return refusal

    def refusal(self, name: PeerName, identity: bytes) -> str:
        """Return why an identity may not be pinned under a name, or nothing."""
        pinned = self._pinned.get(name)
        if pinned is not None:
            return "" if pinned == identity else DUPLICATE_NAME
        try:
            derived = self._verifier.name_of(identity)
        except RemoteError:
            return BAD_IDENTITY
        if derived != name:
            return WRONG_NAME
        if len(self._pinned) >= limits.MAX_OWNERS:
            return TOO_MANY
        return ""

    def names(self) -> set[PeerName]:
        """Return every name that has an identity pinned."""
        return set(self._pinned)

    def forget(self, name: PeerName) -> None:
        """Drop a pin; whoever comes next under the name is believed."""
        self._pinned.pop(name, None)
