"""Asks the host's resolvers what is not ours to answer.

Each query goes from a socket of its own (the kernel picks its port at random and lets only the asked server's
datagrams in) under an id of its own. A silent server gets company by the next one; who answers first wins. Equal
questions asked at the same time are one. What the replies are worth is for `relay` and `reply_cache` to say.
"""

import logging
import socket
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import trio

from weave.dns.limits import (
    MAX_FORWARDED,
    MAX_RESOLV_CONF_BYTES,
    MAX_TCP_BYTES,
    RESOLV_CONF_INTERVAL_S,
    SECOND_TRY_AFTER_S,
    UPSTREAM_DEADLINE_S,
)
from weave.dns.message import Query
from weave.dns.relay import (
    Asked,
    BadReply,
    QuestionKey,
    UpstreamReply,
    asked_by,
    is_reply_to,
    read_reply,
    relay,
    servfail,
)
from weave.dns.reply_cache import ReplyCache
from weave.dns.resolv_conf import ServerBook, name_servers
from weave.dns.rtypes import FORMERR, NOTIMP
from weave.logs import fields

log = logging.getLogger(__name__)

Signature = tuple[int, ...]


@dataclass(slots=True)
class _Pending:
    """A question on its way, and who waits for it."""

    done: trio.Event = field(default_factory=trio.Event)
    reply: UpstreamReply | None = None


class Upstream:
    """The resolvers of the host, as one; `run` must be running while `resolve` is used."""

    def __init__(self, resolv_conf: Path, rng: Random, *, port: int = 53) -> None:
        self.counts: Counter[str] = Counter()
        self.latency_s = 0.0
        """Sum of the time that answered questions took."""
        self._path = resolv_conf
        self._rng = rng
        self._port = port
        self._book = ServerBook()
        self._cache = ReplyCache()
        self._pending: dict[QuestionKey, _Pending] = {}
        self._nursery: trio.Nursery | None = None
        self._signature: Signature | None = None

    @property
    def servers(self) -> tuple[str, ...]:
        """Return the addresses asked, in the order listed."""
        return self._book.servers

    def avoid(self, ours: Collection[str]) -> None:
        """Never ask at our own addresses."""
        if self._book.avoid(ours):
            self._cache.clear()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the questions on their way, and look at the resolv.conf now and then, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await self._read_configuration()
            task_status.started()
            while True:
                await trio.sleep(RESOLV_CONF_INTERVAL_S)
                await self._read_configuration()

    def cached(self, query: Query, limit: int) -> bytes | None:
        """Return the reply to a query if it is known."""
        known = self._cache.get(asked_by(query).key, trio.current_time())
        if known is None:
            return None
        self.counts["upstream_cached"] += 1
        return relay(query, known[0], limit, known[1])

    async def resolve(self, query: Query, limit: int) -> bytes:
        """Return the reply to a query; SERVFAIL where no server gave one in time."""
        asked = asked_by(query)
        pending = self._pending.get(asked.key)
        if pending is None:
            if len(self._pending) >= MAX_FORWARDED:
                self.counts["upstream_overload"] += 1
                return servfail(query)
            assert self._nursery is not None
            pending = self._pending[asked.key] = _Pending()
            self._nursery.start_soon(self._settle, asked, pending)
        else:
            self.counts["upstream_coalesced"] += 1
        await pending.done.wait()
        return servfail(query) if pending.reply is None else relay(query, pending.reply, limit)

    # --- one question -----------------------------------------------------------------------------------------

    async def _settle(self, asked: Asked, pending: _Pending) -> None:
        """Get the reply to one question for everybody who waits for it."""
        started = trio.current_time()
        self.counts["upstream_asked"] += 1
        try:
            with trio.move_on_after(UPSTREAM_DEADLINE_S):
                await self._race(asked, pending)
        finally:
            del self._pending[asked.key]
            pending.done.set()
        if pending.reply is None:
            self.counts["upstream_failed"] += 1
            return
        self.counts["upstream_answered"] += 1
        self.latency_s += trio.current_time() - started
        self._cache.put(asked.key, pending.reply, trio.current_time())

    async def _race(self, asked: Asked, pending: _Pending) -> None:
        """Ask one server after the other, twice round, without waiting for the silent ones; the first answer ends it.

        The first reply that is an error or a part is kept in `pending` as the last resort, while others are asked.
        """
        order = self._book.order(trio.current_time())
        refusing: set[str] = set()
        async with trio.open_nursery() as nursery:
            for server in (*order, *order):
                if server in refusing:
                    continue
                over = trio.Event()
                nursery.start_soon(self._attempt, server, asked, pending, refusing, over, nursery.cancel_scope)
                with trio.move_on_after(SECOND_TRY_AFTER_S) as patience:
                    await over.wait()
                if patience.cancelled_caught:
                    self._book.failed(server, trio.current_time())

    async def _attempt(
        self, server: str, asked: Asked, pending: _Pending, refusing: set[str], over: trio.Event, race: trio.CancelScope
    ) -> None:
        try:
            reply = await self._ask(server, asked)
        except (OSError, BadReply) as exc:
            log.debug("upstream failed", extra=fields(server=server, error=exc))
            self.counts["upstream_errors"] += 1
            self._book.failed(server, trio.current_time())
        else:
            if reply.is_final or pending.reply is None:
                pending.reply = reply
            if reply.is_final:
                self._book.succeeded(server)
                race.cancel()
            refusing.add(server)
        over.set()

    async def _ask(self, server: str, asked: Asked) -> UpstreamReply:
        """Return one server's reply: by datagram, without EDNS where it does not know it, by TCP where it is long."""
        reply = await self._ask_by_datagram(server, asked, with_edns=True)
        knows_edns = reply.rcode not in (FORMERR, NOTIMP)
        if not knows_edns:
            reply = await self._ask_by_datagram(server, asked, with_edns=False)
        if not reply.is_truncated:
            return reply
        try:
            return await self._ask_by_stream(server, asked, with_edns=knows_edns)
        except (OSError, trio.BrokenResourceError):
            return reply  # a part is better than nothing, and it says that it is one

    async def _ask_by_datagram(self, server: str, asked: Asked, *, with_edns: bool) -> UpstreamReply:
        ident = self._rng.getrandbits(16)
        family, address = _socket_address(server, self._port)
        with trio.socket.socket(family, socket.SOCK_DGRAM) as sock:
            await sock.connect(address)
            await sock.send(asked.encode(ident, with_edns=with_edns))
            while True:
                data = await sock.recv(MAX_TCP_BYTES)
                if is_reply_to(data, asked, ident):
                    return read_reply(data, asked)
                self.counts["upstream_mismatched"] += 1

    async def _ask_by_stream(self, server: str, asked: Asked, *, with_edns: bool) -> UpstreamReply:
        ident = self._rng.getrandbits(16)
        family, address = _socket_address(server, self._port)
        with trio.socket.socket(family, socket.SOCK_STREAM) as sock:
            await sock.connect(address)
            stream = trio.SocketStream(sock)
            message = asked.encode(ident, with_edns=with_edns)
            await stream.send_all(len(message).to_bytes(2) + message)
            data = await _receive_exactly(stream, int.from_bytes(await _receive_exactly(stream, 2)))
        if not is_reply_to(data, asked, ident):
            raise BadReply("a reply to another question")
        return read_reply(data, asked)

    # --- which servers ----------------------------------------------------------------------------------------

    async def _read_configuration(self) -> None:
        """Take over the servers of the resolv.conf if it changed; a file that is gone or unreadable lists none."""
        if _signature_of(self._path) == self._signature:
            return  # without the detour by a thread
        self._signature, text = await trio.to_thread.run_sync(_read, self._path)
        if self._book.use(name_servers(text)):
            self._cache.clear()
            log.info("upstream servers", extra=fields(file=self._path, servers=",".join(self.servers) or "none"))


def _signature_of(path: Path) -> Signature:
    """Return what identifies the present contents of a file; of one that is not there, nothing."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_ino, status.st_size


def _read(path: Path) -> tuple[Signature, str]:
    """Return a file's contents, none where it cannot be read, and what identified them before."""
    signature = _signature_of(path)
    try:
        with path.open("rb") as file:
            return signature, file.read(MAX_RESOLV_CONF_BYTES).decode("ascii", "replace")
    except OSError:
        return (), ""


def _socket_address(server: str, port: int) -> tuple[int, tuple[str, int] | tuple[str, int, int, int]]:
    if ":" not in server:
        return socket.AF_INET, (server, port)
    host, _, scope = server.partition("%")
    index = int(scope) if scope.isdigit() else socket.if_nametoindex(scope) if scope else 0
    return socket.AF_INET6, (host, port, 0, index)


async def _receive_exactly(stream: trio.SocketStream, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = await stream.receive_some(count - len(data))
        if not part:
            raise ConnectionResetError("the server closed the connection within a reply")
        data += part
    return data
