"""The router's end of the sleeve: keep one running, tell it what is wanted, hear how the ways are.

What is wanted lives here and is told anew, whole, to every sleeve that we connect to; changes after that are told as
differences. A sleeve that runs already is taken over with its sessions; one of another version is replaced. One that
ends is started again, with back-off. When we end, it stays: containers keep talking.
"""

import logging
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio

from weave.addresses import IPAddress
from weave.errors import EnvironmentFailure, RemoteError
from weave.logs import fields
from weave.net.sleeve import limits
from weave.net.sleeve.command import command
from weave.net.sleeve.messages import (
    VERSION,
    Hello,
    Keys,
    Macs,
    Message,
    Peers,
    Quit,
    Reader,
    Status,
    frame,
    macs_messages,
    peers_messages,
)
from weave.net.sleeve.model import PeerConfig, PeerStatus

log = logging.getLogger("weave.net")

_READ_BYTES = 1 << 16
_POLL_S = 0.01
_LOOK_INTERVAL_S = 0.1
"""For a sleeve that somebody else is to start, which may take for ever."""


@dataclass(frozen=True, slots=True)
class SleeveConfig:
    """How the sleeve of this host is run; the keys never appear where processes are listed."""

    socket: Path
    device: str
    listen: IPAddress | None
    port: int
    most: int
    """The largest UDP payload that our own devices carry."""
    keys: Keys
    is_apart: bool = False
    """Somebody else runs it (`weave.net.sleeve.apart`); we start none."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a sleeve that ran already had been told."""

    peers: tuple[PeerConfig, ...] = ()
    macs: Mapping[bytes, str] = field(default_factory=dict)


class SleeveClient:
    """Own the connection to the sleeve of this host, and the sleeve's life."""

    def __init__(self, config: SleeveConfig) -> None:
        self.statuses: dict[str, PeerStatus] = {}
        """How the way to each peer is, as last told."""
        self.counters: Mapping[str, int] = {}
        self.starts = 0
        self.failure: str | None = None
        self.on_change: Callable[[], None] = lambda: None
        """Called when a way came up, went down or moved."""
        self._config = config
        self._peers: tuple[PeerConfig, ...] = ()
        self._macs: dict[bytes, str] = {}
        self._wanted = trio.Event()
        self._outbox: list[Message] = []
        self._news = trio.Event()
        self._connected = False
        self._process: trio.Process | None = None
        """The sleeve that we started; there is never a second one beside it."""
        self._awaited = False
        """Whether it has yet to say hello for the first time."""
        self._awaited_since = 0.0

    # -- what is wanted -----------------------------------------------------------------------------------------

    def want(self, peers: Sequence[PeerConfig], macs: Mapping[bytes, str]) -> None:
        """Make these the peers, and these the MACs behind them; with the first peer the sleeve is started."""
        wanted = tuple(sorted(peers, key=lambda peer: peer.name))
        if wanted != self._peers:
            self._peers = wanted
            self._tell(peers_messages(wanted))
        gone = dict.fromkeys(self._macs.keys() - macs.keys(), "")
        fresh = {mac: name for mac, name in macs.items() if self._macs.get(mac) != name}
        if gone or fresh:
            self._macs = dict(macs)
            self._tell(macs_messages({**gone, **fresh}, is_fresh=False))
        if wanted:
            self._wanted.set()

    async def find(self) -> Found:
        """Return what a sleeve that runs already was told by an earlier router; empty where none runs."""
        try:
            with trio.fail_after(limits.HELLO_DEADLINE_S):
                stream = await trio.open_unix_socket(str(self._config.socket))
                async with stream:
                    return (await self._greet(stream, Reader()))[1]
        except (OSError, RemoteError, trio.TooSlowError, trio.BrokenResourceError):
            return Found()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep a sleeve running and told, from the first peer on, until cancelled."""
        task_status.started()
        await self._wanted.wait()
        wait_s = limits.RESTART_S
        while True:
            began = trio.current_time()
            try:
                await self._serve()
            except (EnvironmentFailure, RemoteError, OSError, trio.TooSlowError, trio.BrokenResourceError) as exc:
                self.failure = str(exc) or "the sleeve does not answer"
                log.warning("no sleeve; trying again", extra=fields(reason=self.failure))
            self._lost()
            if self._config.is_apart or trio.current_time() - began > limits.RESTART_MOST_S:
                wait_s = limits.RESTART_S
            await trio.sleep(wait_s)
            wait_s = min(2 * wait_s, limits.RESTART_MOST_S)

    # -- one connection -----------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        stream, reader = await self._connect()
        async with stream:
            self.failure = None
            self._outbox = [self._config.keys, *macs_messages(self._macs, is_fresh=True), *peers_messages(self._peers)]
            self._connected = True
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write, stream)
                failure = await self._read(stream, reader)
                nursery.cancel_scope.cancel()
        self._awaited_since = trio.current_time()
        raise failure

    async def _connect(self) -> tuple[trio.SocketStream, Reader]:
        """Return a stream to a sleeve of our version, started if need be and if that is ours."""
        stream = await self._await_another() if self._config.is_apart else None
        with trio.fail_after(2 * limits.HELLO_DEADLINE_S):
            while True:
                await self._end_late_one()
                stream = stream or await _try_socket(self._config.socket)
                if stream is None:
                    await self._have_one()
                    await trio.sleep(_POLL_S)
                    continue
                reader = Reader()
                hello, _ = await self._greet(stream, reader)
                if hello.version == VERSION:
                    log.info("sleeve connected", extra=fields(pid=hello.pid, started=self._awaited))
                    self._awaited = False
                    return stream, reader
                if self._config.is_apart:
                    await stream.aclose()
                    raise EnvironmentFailure("the sleeve of this host is of another version; start weave-sleeve anew")
                await _dismiss(stream)
                stream = None

    async def _await_another(self) -> trio.SocketStream:
        """Return a stream to the sleeve that somebody else runs, however long that takes to come."""
        while True:
            stream = await _try_socket(self._config.socket)
            if stream is not None:
                return stream
            missing = (f"no sleeve listens at {self._config.socket}, and this router was told to start none "
                       "(--sleeve-apart); does weave-sleeve run on this host?")
            if self.failure != missing:
                log.warning("sleeve awaited", extra=fields(reason=missing))
            self.failure = missing
            await trio.sleep(_LOOK_INTERVAL_S)

    async def _have_one(self) -> None:
        """Start a sleeve, unless one that we started still runs."""
        if self._process is not None and self._process.poll() is None:
            return
        if self._process is not None and self._awaited:
            self._awaited = False
            raise EnvironmentFailure(f"the sleeve ended with status {self._process.returncode}; its words are in the "
                                     "router's log")
        self._process, self._awaited, self._awaited_since = await self._start(), True, trio.current_time()

    async def _end_late_one(self) -> None:
        """End a sleeve that we started and that was not heard in all this time, so that another may be started."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        if trio.current_time() - self._awaited_since > limits.START_DEADLINE_S:
            log.warning("sleeve does not come; ending it", extra=fields(pid=process.pid))
            process.kill()
            await process.wait()
            self._awaited = False

    async def _start(self) -> trio.Process:
        config = self._config
        words = command(config.socket, config.device, config.listen, config.port, config.most)
        self.starts += 1
        # a session of its own: what ends the router's process group must not end what containers talk through
        return await trio.lowlevel.open_process(words, stdin=subprocess.DEVNULL, start_new_session=True)

    async def _greet(self, stream: trio.SocketStream, reader: Reader) -> tuple[Hello, Found]:
        peers: list[PeerConfig] = []
        macs: dict[bytes, str] = {}
        with trio.fail_after(limits.HELLO_DEADLINE_S):
            while True:
                data = await stream.receive_some(_READ_BYTES)
                if not data:
                    raise RemoteError("the sleeve hung up before it said what it is")
                for message in reader.feed(data):
                    match message:
                        case Peers():
                            peers += message.peers
                        case Macs():
                            macs.update(message.macs)
                        case Hello():
                            return message, Found(tuple(peers), macs)
                        case Keys() | Quit() | Status():
                            raise RemoteError("the sleeve does not say what it is")

    async def _write(self, stream: trio.SocketStream) -> None:
        while True:
            messages, self._outbox = self._outbox, []
            self._news = trio.Event()
            try:
                for message in messages:
                    await stream.send_all(frame(message))
            except trio.BrokenResourceError:
                return  # who reads learns of it too
            if not self._outbox:
                await self._news.wait()

    async def _read(self, stream: trio.SocketStream, reader: Reader) -> RemoteError:
        """Hear the sleeve out; return why there is nothing more to hear."""
        while True:
            try:
                data = await stream.receive_some(_READ_BYTES)
                if not data:
                    return RemoteError("the sleeve ended")
                for message in reader.feed(data):
                    if isinstance(message, Status):
                        self._heard(message)
            except RemoteError as exc:
                return exc
            except trio.BrokenResourceError:
                return RemoteError("the sleeve ended")

    # -- small things -------------------------------------------------------------------------------------------

    def _heard(self, status: Status) -> None:
        before = {name: (way.established, way.address) for name, way in self.statuses.items()}
        self.statuses = {way.name: way for way in status.peers}
        self.counters = status.counters
        if before != {name: (way.established, way.address) for name, way in self.statuses.items()}:
            self.on_change()

    def _lost(self) -> None:
        self._connected = False
        if self.statuses:
            self.statuses = {}
            self.on_change()

    def _tell(self, messages: Sequence[Message]) -> None:
        if self._connected:
            self._outbox += messages
            self._news.set()


async def end_sleeve(socket: Path) -> None:
    """End the sleeve that listens there, if one does, and wait until it is gone."""
    stream = await _try_socket(socket)
    if stream is None:
        return
    with trio.move_on_after(limits.QUIT_DEADLINE_S):
        async with stream:
            await _dismiss(stream)


async def _try_socket(path: Path) -> trio.SocketStream | None:
    """Connect, if anybody listens there."""
    try:
        return await trio.open_unix_socket(str(path))
    except OSError:
        return None


async def _dismiss(stream: trio.SocketStream) -> None:
    """Ask a sleeve to end, and wait until it did."""
    try:
        await stream.send_all(frame(Quit()))
        while await stream.receive_some(_READ_BYTES):
            pass
    except trio.BrokenResourceError:
        pass
