"""Changes of rules on the real kernel, without routers and containers."""

import subprocess
import sys

from tests.lab.world import LAB
from weave.lab import kernel

pytestmark = LAB
NETNS = "weavelab-policykernel-h1"


def test_changes_lead_the_kernel_where_a_fresh_load_does() -> None:
    if NETNS in kernel.namespaces(NETNS):
        kernel.delete_namespace(NETNS)
    kernel.add_namespace(NETNS)
    try:
        done = subprocess.run(kernel.inside(NETNS, sys.executable, "-m", "tests.lab.policy_replay"), timeout=100,
                              capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
    finally:
        kernel.delete_namespace(NETNS)
