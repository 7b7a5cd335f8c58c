"""Check signatures of gossiped entries with the real keys; the simulator brings a cheap stand-in.

Decoding an identity checks its own signature, which costs as much as the entry's: the last identities are remembered.
"""

from functools import lru_cache

from weave.mesh.identity import PublicIdentity
from weave.names import PeerName

REMEMBERED_IDENTITIES = 4096
"""Several meshes' worth of peers, at a few hundred bytes each."""

_decode = lru_cache(maxsize=REMEMBERED_IDENTITIES)(PublicIdentity.decode)


class KeyVerifier:
    """The `Verifier` of real life."""

    def verify(self, identity: bytes, signature: bytes, data: bytes) -> bool:
        """Say whether the owner of this identity signed this."""
        return _decode(identity).verify(signature, data)

    def name_of(self, identity: bytes) -> PeerName:
        """Return the name that belongs to an identity; raise `RemoteError` for what is none."""
        return _decode(identity).name
