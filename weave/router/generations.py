"""A number that changes with something, and the wait for it to change.

Who asks with the number it was given last learns of every change, however many came between two questions.
"""

import trio


class Generations:
    """Own the generation of one thing that others watch."""

    def __init__(self, first: int) -> None:
        self._current = first
        self._passed = trio.Event()

    def advance(self) -> None:
        """Say that the thing has changed."""
        self._current += 1
        self._passed.set()
        self._passed = trio.Event()

    async def beyond(self, generation: int | None) -> int:
        """Return the present generation once it is not this one."""
        while self._current == generation:
            await self._passed.wait()
        return self._current
