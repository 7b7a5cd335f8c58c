"""Make the seconds of a router longer, since an emulated processor does less in each.

Python imports this by its name where PYTHONPATH names this directory. All intervals and deadlines of a router keep
their proportions, but for four: a tunnel that failed is tried again sooner, so that its return can be awaited; keys
are replaced sooner, for the same reason; a sleeve, which is an interpreter that starts, has longer; and so have answers
to probes, lest a tunnel is left whenever the machine outside has other work.
"""

import sys

SECONDS = 4.0
"""How many of ours one of theirs is."""
RETRY_S = 3.0
REKEY_S = 15.0
SLEEVE_START_S = 30.0
ANSWER_S, PEER_FRESH_S, PROVE_S = 4.0, 20.0, 15.0

if "weave.router" in sys.orig_argv:
    import time
    from functools import partial

    import trio

    from weave.net.crypt import limits
    from weave.net.sleeve import limits as sleeve_limits

    class SlowClock(trio.abc.Clock):
        def start_clock(self) -> None:
            pass

        def current_time(self) -> float:
            return time.monotonic() / SECONDS

        def deadline_to_sleep_time(self, deadline: float) -> float:
            return (deadline - self.current_time()) * SECONDS

    sleeve_limits.HELLO_DEADLINE_S = SLEEVE_START_S
    limits.FIRST_RETRY_S = limits.MAX_RETRY_S = RETRY_S
    limits.REKEY_S = REKEY_S
    limits.ANSWER_S, limits.PEER_FRESH_S, limits.PROVE_S = ANSWER_S, PEER_FRESH_S, PROVE_S
    trio.run = partial(trio.run, clock=SlowClock())
