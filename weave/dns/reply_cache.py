"""Upstream replies kept as long as their TTLs allow; no clock of its own, bounded in number and in size."""

from dataclasses import dataclass

from weave.dns.limits import MAX_CACHED_REPLIES, MAX_CACHED_REPLY_BYTES
from weave.dns.relay import QuestionKey, UpstreamReply


@dataclass(frozen=True, slots=True)
class _Kept:
    reply: UpstreamReply
    since: float


class ReplyCache:
    """A map from questions to replies that forgets."""

    def __init__(self) -> None:
        self._kept: dict[QuestionKey, _Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: QuestionKey, now: float) -> tuple[UpstreamReply, int] | None:
        """Return the reply to a question and its age in whole seconds; None where none is alive."""
        kept = self._kept.get(key)
        if kept is None:
            return None
        age = now - kept.since
        if age < kept.reply.lifetime_s:
            return kept.reply, int(age)
        del self._kept[key]
        return None

    def put(self, key: QuestionKey, reply: UpstreamReply, now: float) -> None:
        """Keep a reply if it may be kept; the one kept longest makes room."""
        if reply.lifetime_s <= 0 or reply.is_truncated or len(reply.data) > MAX_CACHED_REPLY_BYTES:
            return
        self._kept.pop(key, None)
        if len(self._kept) >= MAX_CACHED_REPLIES:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = _Kept(reply, now)

    def clear(self) -> None:
        """Forget everything: the servers changed, and with them perhaps their answers."""
        self._kept.clear()
