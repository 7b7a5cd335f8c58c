"""The child process in which atheris fuzzes one target: `python -m tests.fuzz.guided NAME SECONDS SCRATCH`.

New inputs that reach new code stay in SCRATCH; only what fails goes to the corpus, which is under version control.
"""

import sys

import atheris

with atheris.instrument_imports(include=["weave", "store", "tests.fuzz.targets"]):
    from tests.fuzz.runner import load

    TARGET = load(sys.argv[1])

MAX_INPUT_S = 10
MAX_RSS_MB = 1024


def main() -> None:
    """Fuzz until the time is over or something is found; never returns."""
    seconds, scratch = sys.argv[2:4]
    TARGET.corpus.mkdir(parents=True, exist_ok=True)
    arguments = [
        sys.argv[0],
        f"-max_total_time={seconds}",
        f"-max_len={TARGET.max_bytes}",
        f"-timeout={MAX_INPUT_S}",
        f"-rss_limit_mb={MAX_RSS_MB}",
        f"-artifact_prefix={TARGET.corpus}/",
        "-detect_leaks=0",
        f"{scratch}/grown",
        f"{scratch}/seeds",
        str(TARGET.corpus),
    ]
    atheris.Setup(arguments, TARGET.run)
    atheris.Fuzz()


main()
