"""Print a table: each category of cases, and how many every engine passes.

    python -m tests.conformance.policy [--kernel] [ENGINE...]

With `--kernel` (as root) every probe is also a packet between containers on lab hosts; that takes five minutes. Exit
status 1 where a case failed. Of cyclonus, the naive matcher is what says what must happen.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence

from tests.conformance.policy.case import Case
from tests.conformance.policy.kernel import kernel_engine
from tests.conformance.policy.runner import ENGINES, Engine, Failure, tally
from tests.conformance.policy.suites import cases

SHOWN_PROBES = 5


def report(case: Case, failures: Sequence[Failure]) -> None:
    for failure in failures:
        print(f"FAILED {case.suite} / {case.category} / {case.name}, step {failure.step}: {len(failure.wrong)} probes:",
              *(f"{one.source}->{one.destination} {one.protocol}/{one.port}" for one in failure.wrong[:SHOWN_PROBES]))


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.policy",
                                     description="Print how many cases of each category every engine passes.")
    parser.add_argument("--kernel", action="store_true", help="send every probe between containers too (as root)")
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help=f"of {', '.join(ENGINES)}; default: all of them")
    given = parser.parse_args(words)
    if unknown := [name for name in given.engines if name not in ENGINES]:
        parser.error(f"there is no engine {unknown[0]!r}; there are {', '.join(ENGINES)}")
    engines = {name: ENGINES[name] for name in given.engines or ENGINES}
    if not given.kernel:
        return show(engines)
    with kernel_engine() as engine:
        return show({**engines, "kernel": engine})


def show(engines: Mapping[str, Engine]) -> int:
    results = {name: tally(cases(), engine, report) for name, engine in engines.items()}
    first = next(iter(results.values()))
    print(f"{'suite':<15} {'category':<24} {'cases':>5} {'steps':>5} {'probes':>7} ",
          *(f"{name:>14}" for name in engines))
    for (suite, category), row in first.items():
        passed = [results[name][suite, category].passed for name in engines]
        print(f"{suite:<15} {category:<24} {row.cases:>5} {row.steps:>5} {row.probes:>7} ",
              *(f"{f'{count} passed':>14}" for count in passed))
    rows = list(first.values())
    print(f"{'all':<40} {sum(row.cases for row in rows):>5} {sum(row.steps for row in rows):>5} "
          f"{sum(row.probes for row in rows):>7} ",
          *(f"{f'{sum(row.passed for row in results[name].values())} passed':>14}" for name in engines))
    return int(any(row.passed < row.cases for rows in results.values() for row in rows.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
