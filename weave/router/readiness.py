"""Whether a container could be added now, as CNI's STATUS asks every few seconds."""

from collections.abc import Callable

import trio

from weave.cni.errors import CniError, Code
from weave.router.addressing import Addressing

PRIME_DEADLINE_S = 2.0
"""Asking for it also gets a range divided that nobody has needed yet; a second question finds it done."""


class Readiness:
    """Know what an ADD needs."""

    def __init__(self, addressing: Addressing, problem: Callable[[], str | None]) -> None:
        self._addressing = addressing
        self._problem = problem

    async def check(self, *, allocates: bool) -> None:
        """Raise `CniError` with the reason why a container could not be added."""
        problem = self._problem()
        if problem is not None:
            raise CniError(Code.UNAVAILABLE, problem)
        if not allocates or not self._addressing.has_range:
            return
        with trio.move_on_after(PRIME_DEADLINE_S):
            await self._addressing.ipam.prime()
            return
        raise CniError(Code.UNAVAILABLE, "the address range is not divided yet: too few of the first peers are there "
                       "(`weave status ipam`)")
