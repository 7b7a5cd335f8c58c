"""The three ways in which things go wrong, and what each asks of whom.

A `RemoteError` is refused and counted, a `LocalError` is told to the caller, an `EnvironmentFailure` is retried or
reported. Every error says what was attempted, on what, and what the operator can do; it becomes one line on a
terminal and one structured line in a log. Foreign exceptions are translated once, in the adapter of their package.
"""


class WeaveError(Exception):
    """Base of every error that this project raises on purpose."""


class RemoteError(WeaveError):
    """A peer or a client misbehaved: refuse what it sent, count it, go on."""


class LocalError(WeaveError):
    """The caller asked for something that cannot be: tell it what to do instead."""


class EnvironmentFailure(WeaveError):  # noqa: N818 - a failure is not the reader's error
    """The kernel, the disk or another service failed us: retry or report."""
