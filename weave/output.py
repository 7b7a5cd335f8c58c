"""Standard output that cannot be written: a full disk is one line on standard error, not a traceback.

A pipe that nobody reads any more is no failure worth a word; that is click's to end.
"""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


@contextmanager
def printing(program: str) -> Iterator[None]:
    """End the process with status 1 and one line where what the body prints cannot be written."""
    try:
        yield
    except OSError as exc:
        if exc.errno not in _FULL or exc.filename is not None:
            raise
        _give_up(program, exc)
    finally:
        flush(program)


def flush(program: str) -> None:
    """Write what was printed; end the process as `printing` does where that cannot be."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as exc:
        _give_up(program, exc)


def _give_up(program: str, exc: OSError) -> None:
    """Let nothing be written any more, or the interpreter would try once again at its end, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(f"{program}: cannot write to standard output: {exc.strerror}")
