"""What the mesh core asks its shell to do. Effects are carried out in order."""

from dataclasses import dataclass
from typing import TypeAlias

from store.changes import Change
from weave.mesh.entries import ChannelChange
from weave.mesh.messages import Message
from weave.names import PeerName


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message on a connection."""

    conn: int
    message: Message


@dataclass(frozen=True, slots=True)
class Close:
    """Send what is queued on a connection, then end it; the reason is for people."""

    conn: int
    reason: str


@dataclass(frozen=True, slots=True)
class Dial:
    """Connect to an address; answer with `connection_up` or `dial_failed`."""

    target: str


@dataclass(frozen=True, slots=True)
class Changed:
    """Tell the listeners of a channel what others changed in it."""

    channel: str
    changes: tuple[ChannelChange, ...]


@dataclass(frozen=True, slots=True)
class Deliver:
    """Hand over a unicast message that was meant for us. Its source is what the relays say: nothing proves it."""

    source: PeerName
    kind: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class PeersChanged:
    """Tell that who is there, or what it says of itself, changed."""

    appeared: tuple[PeerName, ...] = ()
    vanished: tuple[PeerName, ...] = ()
    forgotten: tuple[PeerName, ...] = ()


@dataclass(frozen=True, slots=True)
class Persist:
    """Commit rows of the store; nothing that follows waits for it, but order among these matters."""

    changes: tuple[Change, ...]


Effect: TypeAlias = Send | Close | Dial | Changed | Deliver | PeersChanged | Persist
