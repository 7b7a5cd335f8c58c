"""Print how every plugin does in every case: `python -m tests.conformance.cni [WORD of a case or plugin]`."""

import sys
import tempfile
import traceback
from pathlib import Path

from tests.conformance.cni.cases import CASES, Case
from tests.conformance.cni.plugin import Plugin
from tests.conformance.cni.plugins import all_plugins

NOT_ASKED = "-"


def verdict(case: Case, plugin: Plugin) -> tuple[str, list[str]]:
    """Return what to print for a case, and what went wrong."""
    versions = case.applies(plugin)
    wrong = []
    for version in versions:
        try:
            case.check(plugin, version)
        except Exception as exc:  # a table tells of every failure
            last = traceback.extract_tb(exc.__traceback__)[-1]
            wrong.append(f"{plugin.name}: {case.name} ({version}): {exc} [{last.name}:{last.lineno}]")
    if not versions:
        return NOT_ASKED, []
    return (f"{len(versions)} ok" if not wrong else f"{len(wrong)} of {len(versions)} FAIL"), wrong


def main(words: list[str]) -> int:
    """Run the table."""
    failures: list[str] = []
    with tempfile.TemporaryDirectory() as place, all_plugins(Path(place)) as plugins:
        print("| case | " + " | ".join(plugin.name for plugin in plugins) + " |")
        print("| --- " * (len(plugins) + 1) + "|")
        for case in CASES:
            if words and not any(word in case.name for word in words):
                continue
            row = [verdict(case, plugin) for plugin in plugins]
            failures += [wrong for _, found in row for wrong in found]
            print(f"| {case.name} | " + " | ".join(text for text, _ in row) + " |", flush=True)
    print("\n".join(["", *failures] if failures else ["", "all of it holds"]))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
