"""Work inside another network namespace, without taking the process there.

`setns` moves one OS thread. It is called here and nowhere else. Either the thread was made for one job and ends with
it: a thread of a pool would carry the namespace into somebody else's job. Or the calling thread goes there for one job
and comes back before anything else runs on it. A thread started from within would inherit the namespace, so a job
starts none. Sockets opened by the job stay in the namespace when the thread is gone.
"""

import _thread
import ctypes
import errno
import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import outcome
import trio

from weave.errors import EnvironmentFailure, LocalError
from weave.logs import fields

log = logging.getLogger("weave.net")

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
NS_GET_NSTYPE = 0xB703
OWN = Path("/proc/thread-self/ns/net")
EX_OSERR = 71
"""The exit status of sysexits.h for what the system cannot do."""
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def namespace(where: Path | int) -> Iterator[int]:
    """Give a descriptor of a network namespace, named by a path or by the id of a process in it."""
    path = Path(f"/proc/{where}/ns/net") if isinstance(where, int) else where
    descriptor = open_namespace(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_namespace(path: Path) -> int:
    """Return a descriptor of the network namespace at a path; the caller closes it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as exc:
        advice = "is the container running, and the router in the host's pid and mount namespace?"
        kind = LocalError if exc.errno in (errno.ENOENT, errno.ENOTDIR) else EnvironmentFailure
        raise kind(f"cannot open the network namespace {path}: {exc.strerror}; {advice}") from exc
    try:
        is_network = fcntl.ioctl(descriptor, NS_GET_NSTYPE) == CLONE_NEWNET
    except OSError:
        is_network = False
    if not is_network:
        os.close(descriptor)
        raise LocalError(f"{path} is no network namespace; name one like /proc/123/ns/net or /run/netns/blue")
    return descriptor


def identity(descriptor: int | None) -> tuple[int, int]:
    """Return what tells a namespace from every other; None is that of the calling thread."""
    status = os.stat(OWN) if descriptor is None else os.fstat(descriptor)
    return status.st_dev, status.st_ino


def new_namespace() -> int:
    """Make an empty network namespace and return the only reference to it: closing the descriptor removes it."""
    return _on_own_thread(_unshare_and_open)


def run_there(descriptor: int | None, job: Callable[[], T]) -> T:
    """Run a short blocking job inside a namespace and wait for it; None runs it right here."""
    if descriptor is None:
        return job()
    return _on_own_thread(lambda: _enter_and_run(descriptor, job))


async def run_there_async(descriptor: int | None, job: Callable[[ExitStack], T]) -> T:
    """Run a blocking job inside a namespace (None: our own) on a thread of its own, to the end.

    It is not cancelled: what the kernel was told has happened, and the caller must learn of it to undo it. What the
    job leaves on the stack is cleaned up after the caller has gone on: some sockets take 20 ms to close.
    """
    done = trio.Event()
    token = trio.lowlevel.current_trio_token()
    results: list[outcome.Value[T] | outcome.Error] = []

    def body() -> None:
        with ExitStack() as later:
            results.append(outcome.capture(_enter_and_run, descriptor, partial(job, later)))
            token.run_sync_soon(done.set)

    with _needing_a_thread():
        _thread.start_new_thread(body, ())  # a Thread would have us wait until it has begun
    with trio.CancelScope(shield=True):
        await done.wait()
    return results[0].unwrap()


def visit(descriptor: int, home: int, job: Callable[[ExitStack], T]) -> T:
    """Run a job that takes the kernel a moment inside a namespace, on the calling thread, which then returns `home`.

    Starting a thread and hearing from it costs as much as the job. What it leaves on the stack is cleaned up on a
    thread all the same, as `run_there_async` does.
    """
    later = ExitStack()
    try:
        return _enter_and_run(descriptor, partial(job, later))
    finally:
        _return(home)
        try:
            _thread.start_new_thread(later.close, ())
        except RuntimeError:  # no thread is left; late is better than never
            later.close()


def _on_own_thread(job: Callable[[], T]) -> T:
    results: list[outcome.Value[T] | outcome.Error] = []
    thread = threading.Thread(target=lambda: results.append(outcome.capture(job)), name="namespace job", daemon=True)
    with _needing_a_thread():
        thread.start()
    thread.join()
    return results[0].unwrap()


@contextmanager
def _needing_a_thread() -> Iterator[None]:
    try:
        yield
    except RuntimeError as exc:
        raise EnvironmentFailure("cannot start a thread: the process has as many as it may; raise `ulimit -u` or the "
                                 "service's TasksMax (pids.max of its control group)") from exc


def _enter_and_run(descriptor: int | None, job: Callable[[], T]) -> T:
    if descriptor is not None and _libc.setns(descriptor, CLONE_NEWNET):
        raise _failure("enter a network namespace")
    return job()


def _return(home: int) -> None:
    """Enter the namespace that the thread came from, or end the process: all it did from now on would go astray."""
    if _libc.setns(home, CLONE_NEWNET):
        log.critical("cannot leave a container's network namespace", extra=fields(
            reason=os.strerror(ctypes.get_errno())))
        os._exit(EX_OSERR)


def _unshare_and_open() -> int:
    if _libc.unshare(CLONE_NEWNET):
        raise _failure("make a network namespace")
    return os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)


def _failure(what: str) -> EnvironmentFailure:
    return EnvironmentFailure(f"cannot {what}: {os.strerror(ctypes.get_errno())}; run the router as root, or with "
                              "CAP_NET_ADMIN and CAP_SYS_ADMIN")
