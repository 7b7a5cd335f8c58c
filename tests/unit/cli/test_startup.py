"""`weave status` must feel instant: what a command does not need is not imported."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.unit.api.fake import FakeControl

HEAVY = {"trio", "asyncio", "http.client", "email", "starlette", "hypercorn", "msgpack", "cryptography", "pyroute2",
         "prometheus_client", "rich", "logging"}


@pytest.mark.parametrize("words", [["status"], ["--help"], ["ps"], ["attach", "--help"], ["launch", "--help"]])
def test_command_imports_nothing_heavy(words: list[str], router: FakeControl) -> None:
    code = ("import sys, weave.cli\n"
            f"try: sys.argv[1:] = {words}; weave.cli.main()\n"
            f"finally: print(*sorted(sys.modules.keys() & {HEAVY}), file=sys.stderr)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout
    assert done.stderr.split() == []


def test_status_costs_little_more_than_python_itself(router: FakeControl, tmp_path: Path) -> None:
    def best(*words: str) -> float:
        times = []
        for _ in range(5):
            before = time.perf_counter()
            subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True, env=os.environ)
            times.append(time.perf_counter() - before)
        return min(times)

    assert best("-m", "weave", "status") < 4 * best("-c", "import click")
