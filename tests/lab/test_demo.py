"""`weave demo` is a promise to whoever tries this for the first time."""

import json
import subprocess
import sys

from tests.lab.world import LAB
from weave.lab import kernel
from weave.lab.lab import ETC_NETNS
from weave.lab.names import PREFIX
from weave.lab.state import directory

pytestmark = LAB


def test_every_step_of_the_demo_holds_and_nothing_is_left() -> None:
    done = subprocess.run([sys.executable, "-m", "weave", "demo", "--json"], capture_output=True, text=True,
                          timeout=110, check=False)
    story = json.loads(done.stdout)
    assert [step for step in story["steps"] if not step["ok"]] == [], done.stderr
    assert (done.returncode, story["ok"], len(story["steps"])) == (0, True, 9)
    assert kernel.namespaces(f"{PREFIX}demo-") == []
    assert not directory("demo").exists()
    assert list(ETC_NETNS.glob(f"{PREFIX}demo-*")) == []
