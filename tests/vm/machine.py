"""The virtual machine: Debian's kernel in an emulator, with this machine's files under it, as they are.

The testbed (`get-kernel.sh`, `run.sh`) is looked for where TESTBED_VM says, or beside the repository; the kernel is
kept where VM_KERNEL_TREE says, or under `build/`.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
STATUS = "GUEST-RC="
"""How the last line begins that the machine prints: the exit status of the script follows."""
PRELUDE = f"""
ln -sfn /proc/self/fd /dev/fd; ln -sfn /proc/self/fd/0 /dev/stdin
rm -rf /etc/netns  # what the labs of this machine have there comes and goes under the machine inside
modprobe -a bridge veth vxlan wireguard esp4 esp6 nf_tables tun
cd {REPOSITORY} || exit 1
"""


def testbed() -> Path | None:
    """Return the directory of the testbed; None where there is none."""
    named = os.environ.get("TESTBED_VM")
    places = [Path(named)] if named else [parent / "shared/testbed/vm" for parent in REPOSITORY.parents]
    return next((place for place in places if (place / "run.sh").exists()), None)


def run(bed: Path, commands: str, deadline_s: float) -> Iterator[str]:
    """Run commands of a shell inside, in the repository; give the lines that they print, to the end or the deadline.

    What is said of the exit status (`STATUS`) comes last, and is missing where the deadline came first.
    """
    tree = _kernel(bed)
    # compiled here, once, or there by each process, which takes longer than all it does afterwards
    subprocess.run([sys.executable, "-m", "compileall", "-q", "weave", "store", "bench", "tests/vm"], cwd=REPOSITORY,
                   check=True)
    with tempfile.TemporaryDirectory() as scratch:
        script = Path(scratch, "guest.sh")
        script.write_text(PRELUDE + commands)
        with subprocess.Popen(["stdbuf", "-oL", bed / "run.sh", "--smp", "1", "--kernel-tree", tree, script], text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True) as process:
            clock = threading.Timer(deadline_s, _end, (process.pid,))
            clock.start()
            try:
                assert process.stdout is not None
                yield from process.stdout
            finally:
                clock.cancel()
                _end(process.pid)


def _kernel(bed: Path) -> Path:
    """Return the kernel tree, fetched when it is missing."""
    tree = Path(os.environ.get("VM_KERNEL_TREE") or REPOSITORY / "build/vm-kernel").resolve()
    if not (tree / "boot").is_dir():
        subprocess.run([bed / "get-kernel.sh", tree], check=True, stdout=subprocess.DEVNULL)
    return tree


def _end(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
