"""Why two peers do not connect: one code, one sentence, the same on both ends.

The sentences are what `weave status connections` shows, and end in what the operator can do. A reason travels as its
code, as seen by the end that refuses; the other end shows `mirrored`, so that "here" and "there" stay true.
"""

from enum import Enum

from weave.errors import RemoteError
from weave.wire import WireError, expect_int, expect_list, expect_str, pack, unpack

MAX_DETAIL_CHARACTERS = 160
MAX_REFUSAL_BYTES = 4 * MAX_DETAIL_CHARACTERS + 16
"""A packed code and detail, at four bytes a character."""


class Reason(Enum):
    """A reason to refuse a connection: its code on the wire, its sentence, and whether trying again can help."""

    OTHER = 0, "the connection was refused for a reason that this version does not know; upgrade it", True
    WRONG_PASSWORD = 1, "the two ends have different passwords; give both the same", True
    PASSWORD_MISSING_HERE = 2, "the other end has a password and this one has none; start this router with it", True
    PASSWORD_MISSING_THERE = 3, "this router has a password and the other end has none; start the other with it", True
    VERSION_MISMATCH = 4, "the two ends have no protocol version in common; upgrade the older one", True
    SELF_CONNECTION = 5, "the address is our own", False
    # not `weave reset`: the ranges that one of the two would give away are those of the other
    DUPLICATE_NAME = (
        6, "a peer with another key has this name already; stop one of them and delete its state directory", True)
    CLONED_IDENTITY = 7, ("two machines have the same identity (a copied disk?); "
                          "stop one of them and delete its state directory"), True
    NOT_WEAVE = 8, "what is at the other end is not a weave router", True
    TIMEOUT = 9, "the handshake was not finished in time", True
    OVERSIZED = 10, "the other end sent more than a handshake may hold", True
    MALFORMED = 11, "the other end sent a handshake that makes no sense", True
    TAMPERED = 12, "the handshake was altered on the way, or the other end is broken", True
    IDENTITY_MISMATCH = 13, "the other end shows the identity of somebody else", True

    def __init__(self, code: int, sentence: str, retry: bool) -> None:
        self.code = code
        self.sentence = sentence
        self.retry = retry
        """Whether dialling the same address again may succeed without this router changing."""

    @property
    def mirrored(self) -> "Reason":
        """Return this reason as the other end must word it."""
        return _MIRRORED.get(self, self)

    @classmethod
    def from_code(cls, code: int) -> "Reason":
        """Return the reason of a wire code; what a newer version made up is `OTHER`."""
        return _BY_CODE.get(code, cls.OTHER)


_BY_CODE = {reason.code: reason for reason in Reason}
_MIRRORED = {
    Reason.PASSWORD_MISSING_HERE: Reason.PASSWORD_MISSING_THERE,
    Reason.PASSWORD_MISSING_THERE: Reason.PASSWORD_MISSING_HERE,
}


class HandshakeRefused(RemoteError):  # noqa: N818 - the name says what happened
    """The handshake ended without a connection; send `reply` to the other end, then close."""

    def __init__(self, reason: Reason, detail: str = "", reply: bytes = b"") -> None:
        super().__init__(f"{reason.sentence} ({detail})" if detail else reason.sentence)
        self.reason = reason
        self.detail = detail
        self.reply = reply


def encode_refusal(reason: Reason, detail: str) -> bytes:
    """Return the body that tells the other end; what is not printable or too long in the detail is cut."""
    return pack([reason.code, printable(detail)])


def decode_refusal(body: bytes) -> tuple[Reason, str]:
    """Return the other end's reason in our words, and its detail; never fails, whatever the bytes are."""
    try:
        said = expect_list(unpack(body, max_bytes=MAX_REFUSAL_BYTES, max_items=4), "a refusal")
        code, detail, *_ = [*said, None, None]
        reason = Reason.from_code(expect_int(code, "a reason")).mirrored
        return reason, expect_str(detail, "a detail", most=MAX_DETAIL_CHARACTERS)
    except WireError:
        return Reason.OTHER, ""


def printable(text: str) -> str:
    """Return text fit for a terminal and a log line, cut to `MAX_DETAIL_CHARACTERS`."""
    return "".join(c if c.isprintable() else "?" for c in text[:MAX_DETAIL_CHARACTERS])
