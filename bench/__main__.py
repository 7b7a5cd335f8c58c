"""`python -m bench list` and `python -m bench NAME [options]`."""

import json
import sys
from collections.abc import Sequence

from bench.registry import benches

USAGE = "usage: python -m bench list [--json] | NAME [--help] [options]"


def main(argv: Sequence[str]) -> int:
    """Run what the words say and return the exit status: 0 measured, 1 could not be measured, 2 wrong usage."""
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if argv else 2
    known = benches()
    name, *rest = argv
    if name == "list":
        return _list(rest)
    if name not in known:
        print(f"there is no bench {name!r}; there are {', '.join(known)}\n{USAGE}", file=sys.stderr)
        return 2
    return known[name].main(rest)


def _list(rest: Sequence[str]) -> int:
    rows = [(bench.name, bench.measured, bench.goal) for bench in benches().values()]
    if "--json" in rest:
        print(json.dumps([{"name": name, "measured": measured, "goal": goal} for name, measured, goal in rows],
                         indent=1, ensure_ascii=False))
        return 0
    width = max(len(name) for name, _, _ in rows)
    for name, measured, goal in rows:
        print(f"{name.ljust(width)}  {measured}\n{' ' * width}  goal: {goal}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
