"""Whether a container could be added now, as CNI's STATUS asks every few seconds."""

from collections.abc import Callable

import trio

from weave.cni.errors import CniError, Code
from weave.router.addressing import Addressing

PRIME_DEADLINE_S = 2.0
"""Asking for it also gets a range divided that nobody has needed yet; a second question finds it done."""


class Readiness:
    """Know what an ADD needs."""

    def __init__(self, addressing: Addressing, problem: Callable[[], str | None],
                 is_guarded: Callable[[], bool]) -> None:
        """`is_guarded` says whether the policy that is expected here is in the kernel."""
        self._addressing = addressing
        self._problem = problem
        self._is_guarded = is_guarded

    def check_policy(self, code: Code) -> None:
        """Raise `CniError` with this code while a container would start without the policy that is expected.

        That our configuration is not installed yet keeps nobody out: an operator's own, or that of a plugin which
        calls ours, may have been there before the host booted.
        """
        if not self._is_guarded():
            raise CniError(code, "the policy controller that is expected here (--expect-npc) has no rules in the "
                           "kernel yet; does weave-npc run?")

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
