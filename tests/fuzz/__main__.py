"""`python -m tests.fuzz NAME|all|list [--seconds N]`: fuzz decoders for a while, guided by coverage where possible."""

import argparse
import importlib.util
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fuzz.runner import FuzzError, Target, feed, limited_address_space, load, target_names

LOG_LINES = 40
"""How much of the fuzzer's own log is shown when it found something."""
BATCH = 100
GRACE_S = 60
"""Time to start, and to finish the last input."""


def main() -> int:
    """Run what was asked; exit with 1 where anything was found, 2 for a name that does not exist."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("name", help="a target, `all`, or `list`")
    parser.add_argument("--seconds", type=int, default=60, help="how long each target is fuzzed")
    options = parser.parse_args()
    if options.name == "list":
        print(*target_names(), sep="\n")
        return 0
    names = target_names() if options.name == "all" else [options.name]
    if not set(names) <= set(target_names()):
        parser.error(f"no target {options.name!r}; there are: {', '.join(target_names())}")
    is_guided = importlib.util.find_spec("atheris") is not None
    if not is_guided:
        print("atheris is not installed: fuzzing blindly, by mutations without coverage")
    found = [name for name in names if not (fuzz_guided if is_guided else fuzz_blindly)(name, options.seconds)]
    if found:
        print(
            f"FAILED: {', '.join(found)}; the inputs are in tests/fuzz/corpus/ and will be replayed by every test run"
        )
    return 1 if found else 0


def fuzz_blindly(name: str, seconds: int) -> bool:
    """Feed mutations until the time is over; tell whether all went well."""
    target = load(name)
    inputs, count, end = target.inputs(), 0, time.monotonic() + seconds
    try:
        with limited_address_space():
            while time.monotonic() < end:
                count += feed(target, islice(inputs, BATCH))
    except FuzzError as failure:
        print(failure)
        return False
    print(f"{name}: {count} inputs, nothing found")
    return True


def fuzz_guided(name: str, seconds: int) -> bool:
    """Let atheris fuzz in a process of its own (it ends the process); tell whether all went well."""
    target = load(name)
    target.corpus.mkdir(parents=True, exist_ok=True)
    before = set(target.corpus.iterdir())
    with TemporaryDirectory(prefix="weave-fuzz-") as scratch:
        log = Path(scratch) / "log"
        code = run_atheris(target, seconds, Path(scratch), log)
        text = log.read_text(errors="replace")
    found = sorted(set(target.corpus.iterdir()) - before)
    if not any(target.corpus.iterdir()):
        target.corpus.rmdir()
    if code == 0 and not found:
        print(f"{name}: {summary(text)}, nothing found")
        return True
    print(f"{name}: exit status {code}", *text.splitlines()[-LOG_LINES:], sep="\n")
    for path in found:
        data = path.read_bytes()
        print(f"input of {len(data)} bytes, saved as {path}:\n{data.hex()}")
    return False


def run_atheris(target: Target, seconds: int, scratch: Path, log: Path) -> int:
    """Run the child and return its exit status."""
    for directory in ("grown", "seeds"):
        (scratch / directory).mkdir()
    for number, seed in enumerate(target.seeds):
        (scratch / "seeds" / f"{number:04}").write_bytes(seed)
    command = [sys.executable, "-m", "tests.fuzz.guided", target.name, str(seconds), str(scratch)]
    with log.open("wb") as output:
        try:
            return subprocess.run(
                command, stdout=output, stderr=subprocess.STDOUT, timeout=seconds + GRACE_S, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            output.write(f"\nno end {GRACE_S} s after its time\n".encode())
            return -1


def summary(log: str) -> str:
    """Return how much was done, from the fuzzer's log."""
    done = [line for line in log.splitlines() if line.startswith(("Done ", "stat::number_of_executed_units"))]
    cover = [word for line in log.splitlines() if "DONE" in line for word in line.split("corp:")[:1]]
    inputs = done[0].split()[1] if done else "?"
    return f"{inputs} inputs, coverage {cover[-1].split('cov:')[-1].split()[0] if cover else '?'}"


if __name__ == "__main__":
    sys.exit(main())
