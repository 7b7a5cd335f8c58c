"""A router in a thread, and the command line pointed at it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.unit.api.fake import FakeControl
from tests.unit.api.harness import router_in_thread
from weave.cli.app import weave

Run = Callable[..., Result]


@pytest.fixture
def socket_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "weave.sock"
    monkeypatch.setenv("WEAVE_SOCKET", str(path))
    return path


@pytest.fixture
def router(socket_path: Path) -> Iterator[FakeControl]:
    with router_in_thread(socket_path, FakeControl()) as control:
        yield control


@pytest.fixture
def run() -> Run:
    def run_weave(*words: str) -> Result:
        return CliRunner().invoke(weave, list(words), prog_name="weave", catch_exceptions=False)

    return run_weave
