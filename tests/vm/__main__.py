"""Boot the virtual machine, run the stories inside (or the ones named), show what they say.

The testbed (`get-kernel.sh`, `run.sh`) is looked for where TESTBED_VM says, or beside the repository; the kernel is
kept where VM_KERNEL_TREE says, or under `build/`. Exit status: 0 when every check held, 1 when one did not, 2 when
there is no testbed, or no such story.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DEADLINE_S = 1800
"""An idle machine takes a third of it."""
STORIES = ("tunnels", "routers")
SCRIPT = """
ln -sfn /proc/self/fd /dev/fd; ln -sfn /proc/self/fd/0 /dev/stdin
modprobe -a bridge veth vxlan wireguard esp4 esp6 nf_tables tun
cd {repository} || exit 1
worst=0
for story in {stories}; do {python} -m tests.vm.$story || worst=1; done
exit $worst
"""


def testbed() -> Path | None:
    """Return the directory of the testbed; None where there is none."""
    named = os.environ.get("TESTBED_VM")
    places = [Path(named)] if named else [parent / "shared/testbed/vm" for parent in REPOSITORY.parents]
    return next((place for place in places if (place / "run.sh").exists()), None)


def kernel(bed: Path) -> Path:
    """Return the kernel tree, fetched when it is missing."""
    tree = Path(os.environ.get("VM_KERNEL_TREE") or REPOSITORY / "build/vm-kernel").resolve()
    if not (tree / "boot").is_dir():
        subprocess.run([bed / "get-kernel.sh", tree], check=True, stdout=subprocess.DEVNULL)
    return tree


def boot(bed: Path, tree: Path, stories: Sequence[str]) -> str:
    """Run the stories to their end, or to the deadline; show what it prints, and return it."""
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        script = Path(scratch, "guest.sh")
        script.write_text(SCRIPT.format(repository=REPOSITORY, python=sys.executable, stories=" ".join(stories)))
        with subprocess.Popen(["stdbuf", "-oL", bed / "run.sh", "--smp", "1", "--kernel-tree", tree, script], text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True) as process:
            clock = threading.Timer(DEADLINE_S, os.killpg, (process.pid, signal.SIGKILL))
            clock.start()
            assert process.stdout is not None
            for line in process.stdout:
                print(line, end="", flush=True)
                lines.append(line)
            clock.cancel()
    return "".join(lines)


def main(words: Sequence[str]) -> int:
    """Run all stories, or those that are named."""
    if not set(words) <= set(STORIES):
        print(f"the stories are: {' '.join(STORIES)}", file=sys.stderr)
        return 2
    bed = testbed()
    if bed is None:
        print("no testbed: set TESTBED_VM to the directory of run.sh", file=sys.stderr)
        return 2
    # compiled here, once, or there by each process, which takes longer than all it does afterwards
    subprocess.run([sys.executable, "-m", "compileall", "-q", "weave", "store", "tests/vm"], cwd=REPOSITORY, check=True)
    if "GUEST-RC=" not in (output := boot(bed, kernel(bed), words or STORIES)):
        print(f"the virtual machine did not come to its end within {DEADLINE_S} s", file=sys.stderr)
    return 0 if "GUEST-RC=0" in output else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
