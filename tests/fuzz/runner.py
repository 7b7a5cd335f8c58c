"""Runs fuzz targets: finds them, feeds them, bounds what one input may cost, keeps the inputs that failed.

A target is a module in `tests/fuzz/targets/` with `target(data: bytes) -> None`, which raises only for bugs, and
`SEEDS: list[bytes]`, well-formed inputs to start from. It may also set:

    MUTATIONS       how many mutations a test run tries (where one input is slow)
    MAX_BYTES       the longest input
    MAX_PEAK_BYTES  the memory that one input may take

A failing input is saved to `tests/fuzz/corpus/<name>/`, which every later run replays first.
"""

import gc
import importlib
import resource
import signal
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import chain, islice
from pathlib import Path
from types import FrameType

from tests.fuzz.mutate import mutations

HERE = Path(__file__).parent
DEFAULT_MUTATIONS = 2000
DEFAULT_MAX_BYTES = 8192
DEFAULT_MAX_PEAK_BYTES = 64 << 20
"""Sixty-four times the largest message that a peer may send."""
TRACED_MUTATIONS = 200
"""Mutations that run a second time with their memory measured: tracing makes them several times slower."""
MAX_CPU_S = 5.0
"""Processor time that one input may take: a thousand times what any should; not wall time, machines are shared."""
HEADROOM_BYTES = 1 << 30
"""Address space that the target may add to the process: a decoder that believes a length of gigabytes fails at it."""


class Overrun(BaseException):
    """An input cost too much; not an `Exception`, so that no target takes it for one of its own."""


class FuzzError(AssertionError):
    """A target failed; says with which input."""


@dataclass(frozen=True)
class Target:
    """One decoder under test."""

    name: str
    run: Callable[[bytes], None]
    seeds: list[bytes] = field(default_factory=list)
    corpus: Path = HERE / "corpus"
    mutations: int = DEFAULT_MUTATIONS
    max_bytes: int = DEFAULT_MAX_BYTES
    max_peak_bytes: int = DEFAULT_MAX_PEAK_BYTES
    max_cpu_s: float = MAX_CPU_S

    def samples(self) -> list[bytes]:
        """Return the seeds and the saved inputs."""
        saved = sorted(path for path in self.corpus.glob("*") if path.is_file())
        return [*self.seeds, *(path.read_bytes() for path in saved)]

    def inputs(self) -> Iterator[bytes]:
        """Yield the samples, then their mutations for ever."""
        return chain(self.samples(), mutations(self.name, self.seeds, self.max_bytes))


def target_names() -> list[str]:
    """Return the names of all targets."""
    return sorted(path.stem for path in (HERE / "targets").glob("*.py") if not path.stem.startswith("_"))


def load(name: str) -> Target:
    """Import a target."""
    module = importlib.import_module(f"tests.fuzz.targets.{name}")
    return Target(
        name=name,
        run=module.target,
        seeds=list(module.SEEDS),
        corpus=HERE / "corpus" / name,
        mutations=getattr(module, "MUTATIONS", DEFAULT_MUTATIONS),
        max_bytes=getattr(module, "MAX_BYTES", DEFAULT_MAX_BYTES),
        max_peak_bytes=getattr(module, "MAX_PEAK_BYTES", DEFAULT_MAX_PEAK_BYTES),
    )


def run_all(target: Target) -> None:
    """Run the samples and a fixed number of mutations, then a part of them with their memory measured."""
    count = len(target.samples()) + target.mutations
    with limited_address_space():
        feed(target, islice(target.inputs(), count))
        traced = len(target.samples()) + min(TRACED_MUTATIONS, target.mutations)
        with traced_memory():
            feed(target, islice(target.inputs(), traced))


def feed(target: Target, inputs: Iterable[bytes]) -> int:
    """Run a target on every input and return how many there were; raise `FuzzError` at the first that fails."""
    count = 0
    for data in inputs:
        try:
            run_bounded(target, data)
        except (Exception, Overrun) as exc:
            path = save(target, data)
            raise FuzzError(
                f"fuzz target {target.name}: {type(exc).__name__}: {exc}\n"
                f"input of {len(data)} bytes, saved as {path}:\n{data.hex()}"
            ) from exc
        count += 1
    return count


def run_bounded(target: Target, data: bytes) -> None:
    """Run a target on one input; raise `Overrun` where it takes too long, or too much memory while that is traced."""
    is_traced = tracemalloc.is_tracing()
    if is_traced:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
    with limited_cpu(target.max_cpu_s):
        target.run(data)
    if is_traced:
        _, peak = tracemalloc.get_traced_memory()
        if peak - before > target.max_peak_bytes:
            raise Overrun(f"{peak - before} bytes of memory, the bound is {target.max_peak_bytes}")


def save(target: Target, data: bytes) -> Path:
    """Keep an input in the corpus, where it is new there, and return its file."""
    target.corpus.mkdir(parents=True, exist_ok=True)
    for kept in sorted(target.corpus.iterdir()):
        if kept.read_bytes() == data:
            return kept
    path = target.corpus / f"crash-{sha256(data).hexdigest()[:16]}"
    path.write_bytes(data)
    return path


@contextmanager
def limited_cpu(seconds: float) -> Iterator[None]:
    """Raise `Overrun` in the block once it has used its processor time.

    The profiling timer, because it counts processor time and because pytest's own time limit uses the other one.
    """

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise Overrun(f"more than {seconds:g} s of processor time")

    previous = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)


@contextmanager
def limited_address_space() -> Iterator[None]:
    """Let the process grow by `HEADROOM_BYTES` at most while in the block; beyond it allocations raise MemoryError."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = pages * resource.getpagesize() + HEADROOM_BYTES
    allowed = min(wanted, *(each for each in (soft, hard) if each != resource.RLIM_INFINITY), wanted)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextmanager
def traced_memory() -> Iterator[None]:
    """Measure the memory of the block."""
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()
