"""A thread goes into another network namespace for one job and comes back, whatever becomes of the job."""

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Never

import pytest
import trio

from weave.errors import EnvironmentFailure, LocalError
from weave.net.namespace import OWN, identity, new_namespace, open_namespace, run_there, run_there_async, visit

CLOSED_WITHIN_S = 10


@pytest.fixture
def there() -> Iterator[int]:
    descriptor = new_namespace()
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def home() -> Iterator[int]:
    descriptor = open_namespace(OWN)
    yield descriptor
    os.close(descriptor)


def test_the_job_is_there_and_the_thread_then_here(there: int, home: int) -> None:
    before = identity(None)
    assert visit(there, home, lambda _: identity(None)) == identity(there) != before
    assert identity(None) == before


def test_a_job_that_fails_comes_back_too(there: int, home: int) -> None:
    before = identity(None)

    def fail(_: ExitStack) -> None:
        raise LocalError("no such thing")

    with pytest.raises(LocalError, match="no such thing"):
        visit(there, home, fail)
    assert identity(None) == before


def test_what_the_job_leaves_is_cleaned_up_elsewhere(there: int, home: int) -> None:
    cleaned: list[int] = []
    done = threading.Event()

    def job(later: ExitStack) -> None:
        later.callback(done.set)
        later.callback(lambda: cleaned.append(threading.get_ident()))

    visit(there, home, job)
    assert done.wait(CLOSED_WITHIN_S)
    assert cleaned != [threading.get_ident()]


def test_what_is_no_namespace_is_refused_before_anything_moves(home: int) -> None:
    before = identity(None)
    with pytest.raises(Exception, match="cannot enter a network namespace"):
        visit(0, home, lambda _: None)
    assert identity(None) == before


@pytest.fixture
def no_thread_left(there: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no thread be started from now on; making the namespace took one."""
    assert there > 0

    def refuse(*_: object) -> Never:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("weave.net.namespace._thread.start_new_thread", refuse)
    monkeypatch.setattr("threading.Thread.start", refuse)


@pytest.mark.usefixtures("no_thread_left")
def test_without_a_thread_left_a_job_is_done_and_cleaned_up_all_the_same(there: int, home: int) -> None:
    cleaned: list[tuple[int, int]] = []

    def job(later: ExitStack) -> str:
        later.callback(lambda: cleaned.append(identity(None)))
        return "done"

    assert visit(there, home, job) == "done"
    assert cleaned == [identity(None)]


@pytest.mark.usefixtures("no_thread_left")
def test_a_job_that_needs_a_thread_says_that_there_is_none(there: int) -> None:
    ran: list[object] = []
    with pytest.raises(EnvironmentFailure, match="cannot start a thread"):
        trio.run(run_there_async, there, ran.append)
    with pytest.raises(EnvironmentFailure, match="cannot start a thread"):
        run_there(there, lambda: ran.append(there))
    assert not ran
