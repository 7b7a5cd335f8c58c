"""What the core asks of its shell, to be executed strictly in order; what follows a `Persist` waits for the disk."""

from dataclasses import dataclass
from typing import TypeAlias

from store.changes import Change
from weave.addresses import IPInterface
from weave.errors import LocalError
from weave.names import PeerName

Outcome: TypeAlias = IPInterface | int | LocalError | None
"""An address (allocate, claim), a count of addresses (takeover, surrender), a refusal, or just done."""


@dataclass(frozen=True, slots=True)
class Persist:
    """Make these changes durable before anything that follows."""

    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Publish:
    """Set our entry `key` of the gossip channel, or (None) withdraw it."""

    key: bytes
    value: bytes | None


@dataclass(frozen=True, slots=True)
class SendTo:
    """Send a unicast message; it may be lost."""

    peer: PeerName
    payload: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """End a request."""

    request: int
    outcome: Outcome


Effect: TypeAlias = Persist | Publish | SendTo | Answer
