"""Cheap stand-ins for keys: a signature is a checksum that depends on the identity; nobody here forges on purpose."""

from zlib import crc32

from weave.errors import RemoteError
from weave.names import PeerName, parse_peer_name


def identity_of(name: PeerName, key: str = "") -> bytes:
    """Return an encoded identity; another `key` gives another identity with the same name."""
    return f"{name}/{key}".encode()


class FakeSigner:
    def __init__(self, identity: bytes) -> None:
        self._start = crc32(identity)

    def sign(self, data: bytes) -> bytes:
        return crc32(data, self._start).to_bytes(8, "big")


class FakeVerifier:
    def verify(self, identity: bytes, signature: bytes, data: bytes) -> bool:
        return signature == crc32(data, crc32(identity)).to_bytes(8, "big")

    def name_of(self, identity: bytes) -> PeerName:
        try:
            return parse_peer_name(identity.decode().partition("/")[0])
        except (UnicodeDecodeError, Exception) as exc:
            raise RemoteError("no identity") from exc
