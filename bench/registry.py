"""Which benches there are: every module of this package that has a NAME.

Nothing is registered by hand, so that a bench is one file; the price is that `list` imports them all, which they keep
cheap by importing what they measure only when they measure.
"""

import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

import bench

_FRAME = frozenset({"__main__", "harness", "registry", "report", "stats"})


@dataclass(frozen=True, slots=True)
class Bench:
    """One bench."""

    name: str
    measured: str
    goal: str
    main: Callable[[Sequence[str]], int]


def benches() -> dict[str, Bench]:
    """Return every bench by name, sorted."""
    found = {}
    for info in pkgutil.iter_modules(bench.__path__):
        if info.ispkg or info.name in _FRAME:
            continue
        module = import_module(f"bench.{info.name}")
        name = getattr(module, "NAME", None)
        if name is not None:
            measured = getattr(module, "MEASURED", "") or _first_sentence(module.__doc__ or "")
            found[name] = Bench(name, measured, str(module.GOAL), module.main)
    return {name: found[name] for name in sorted(found)}


def _first_sentence(text: str) -> str:
    return " ".join(text.partition("\n\n")[0].split()).rstrip(".")
