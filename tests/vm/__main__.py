"""Boot the virtual machine, run the stories inside (or the ones named), show what they say.

Exit status: 0 when every check held, 1 when one did not, 2 when there is no testbed, or no such story.
"""

import sys
from collections.abc import Sequence

from tests.vm.machine import STATUS, run, testbed

DEADLINE_S = 3600
"""An idle machine takes a third of it."""
STORIES = ("tunnels", "routers", "relays")
COMMANDS = """
worst=0
for story in {stories}; do {python} -m tests.vm.$story || worst=1; done
exit $worst
"""


def main(words: Sequence[str]) -> int:
    """Run all stories, or those that are named."""
    if not set(words) <= set(STORIES):
        print(f"the stories are: {' '.join(STORIES)}", file=sys.stderr)
        return 2
    bed = testbed()
    if bed is None:
        print("no testbed: set TESTBED_VM to the directory of run.sh", file=sys.stderr)
        return 2
    status = ""
    for line in run(bed, COMMANDS.format(stories=" ".join(words or STORIES), python=sys.executable), DEADLINE_S):
        print(line, end="", flush=True)
        status = line.strip().partition(STATUS)[2] or status
    if not status:
        print(f"the virtual machine did not come to its end within {DEADLINE_S} s", file=sys.stderr)
    return 0 if status == "0" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
