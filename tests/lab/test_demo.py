"""`weave demo` is a promise to whoever tries this for the first time."""

import json
import subprocess
import sys

from tests.lab.world import LAB
from weave.lab.demo import LAB as LAB_OF_DEMO
from weave.lab.lab import ETC_NETNS, all_labs
from weave.lab.names import PREFIX
from weave.lab.state import is_reserved

pytestmark = LAB


def test_every_step_of_the_demo_holds_and_nothing_is_left() -> None:
    done = subprocess.run([sys.executable, "-m", "weave", "demo", "--json"], capture_output=True, text=True,
                          timeout=110, check=False)
    story = json.loads(done.stdout)
    assert [step for step in story["steps"] if not step["ok"]] == [], done.stderr
    assert (done.returncode, story["ok"], len(story["steps"])) == (0, True, 10)
    assert [name for name in all_labs() if name.startswith(LAB_OF_DEMO) and not is_reserved(name)] == []
    assert [name for name in ETC_NETNS.glob(f"{PREFIX}{LAB_OF_DEMO}-h*") if not is_reserved(LAB_OF_DEMO)] == []
