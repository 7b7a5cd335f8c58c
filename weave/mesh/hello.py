"""What a peer says of itself inside the handshake, always under encryption.

A map with text keys. Keys that this version does not know are kept in `features` and otherwise ignored, so that a mesh
can be upgraded one node at a time; a newer version adds keys, and never changes the meaning of an old one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import cast

from weave.errors import LocalError
from weave.mesh.identity import PUBLIC_IDENTITY_BYTES, PublicIdentity
from weave.wire import Plain, expect_bool, expect_bytes, expect_int, expect_map, expect_str, pack, unpack

MAX_HELLO_BYTES = 2048
"""About 300 are used; the rest is for what later versions add."""
MAX_HELLO_ITEMS = 64
MAX_NICKNAME_CHARACTERS = 255


@dataclass(frozen=True, slots=True)
class Hello:
    """One peer's introduction of itself."""

    identity: PublicIdentity
    nickname: str
    uid: int
    """Tells one incarnation of a peer from the next, and two machines with one identity apart."""
    protocol_min: int
    protocol_max: int
    control_port: int
    """Where others can dial this peer, at the address they see."""
    trusts_remote: bool
    """Our trusted subnets contain the other end's address, so container traffic may go unencrypted."""
    features: Mapping[str, Plain] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return the bytes for the wire; raise `LocalError` where the features do not fit or hide a field."""
        known: dict[str, Plain] = {
            "identity": self.identity.encode(),
            "nickname": self.nickname,
            "uid": self.uid,
            "protocol_min": self.protocol_min,
            "protocol_max": self.protocol_max,
            "control_port": self.control_port,
            "trusts_remote": self.trusts_remote,
        }
        if clash := known.keys() & self.features.keys():
            raise LocalError(f"a feature cannot be named {min(clash)}; the introduction of a peer has such a field")
        encoded = pack({**known, **{key: self.features[key] for key in sorted(self.features)}})
        if len(encoded) > MAX_HELLO_BYTES:
            raise LocalError(f"our introduction has {len(encoded)} bytes, over {MAX_HELLO_BYTES}; shorten the nickname")
        return encoded

    @classmethod
    def decode(cls, data: bytes) -> "Hello":
        """Return what the other end said; raise `RemoteError` (`WireError`, `IdentityError`) for anything else."""
        said = expect_map(unpack(data, max_bytes=MAX_HELLO_BYTES, max_items=MAX_HELLO_ITEMS), "a hello")
        identity = expect_bytes(said.pop("identity", None), "identity", size=PUBLIC_IDENTITY_BYTES)
        unknown = {key: cast("Plain", said[key]) for key in sorted(said.keys() - _FIELDS)}
        return cls(
            identity=PublicIdentity.decode(identity),
            nickname=expect_str(said.get("nickname"), "nickname", most=MAX_NICKNAME_CHARACTERS),
            uid=expect_int(said.get("uid"), "uid"),
            protocol_min=expect_int(said.get("protocol_min"), "protocol_min", 1, 255),
            protocol_max=expect_int(said.get("protocol_max"), "protocol_max", 1, 255),
            control_port=expect_int(said.get("control_port"), "control_port", 0, 65535),
            trusts_remote=expect_bool(said.get("trusts_remote"), "trusts_remote"),
            features=unknown,
        )


_FIELDS = frozenset(f.name for f in fields(Hello)) - {"features"}
