"""Rows that must be kept but that nobody waits for: written in order, many at a time, by one task."""

from collections import deque
from collections.abc import Sequence

import trio

from store import Store
from store.changes import Change

MAX_BATCH = 1024


class Persister:
    """Own the queue of background writes; it is bounded by what gossip may hold, and coalesces by row."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._queue: deque[Change] = deque()
        self._wake = trio.Event()

    def enqueue(self, changes: Sequence[Change]) -> None:
        """Take rows to be written soon."""
        self._queue.extend(changes)
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled; what is queued then is lost, and gossip brings it again."""
        while True:
            await self._wake.wait()
            self._wake = trio.Event()
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(MAX_BATCH, len(self._queue)))]
                # the last word on a row is the only one that counts, and a transaction wants each row once
                latest = {(change.table, change.key): change for change in batch}
                await self._store.commit(list(latest.values()))
