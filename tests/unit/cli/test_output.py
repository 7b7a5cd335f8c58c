"""A full disk behind standard output is one line on standard error."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.api.fake import FakeControl


@pytest.mark.parametrize("words", [
    ["weave", "report"], ["weave", "status"], ["weave", "ps", "--json"], ["weave", "--help"], ["weave", "help"],
    ["weave", "attach", "--help"], ["weave", "status", "--watch"], ["weave.router", "--help"],
    ["weave.router", "--version"],
], ids=" ".join)
def test_a_full_disk_is_one_line_and_status_1(words: list[str], router: FakeControl,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # argparse swallows what fails at once
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", *words], stdout=full, stderr=subprocess.PIPE, text=True,
                              check=False)
    program = words[0].replace(".", " ")
    assert done.stderr == f"{program}: cannot write to standard output: No space left on device\n"
    assert done.returncode == 1
