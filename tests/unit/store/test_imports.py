import subprocess
import sys

import pytest

import store

HEAVY = "print(sorted({'trio', 'sqlite3', 'store.sqlite'} & set(sys.modules)))"


@pytest.mark.parametrize("module", ["store", "store.changes", "store.errors", "store.memory", "store.protocol"])
def test_core_modules_load_neither_trio_nor_sqlite(module: str) -> None:
    script = f"import sys, {module}; {HEAVY}"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", store.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(store, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = store.nonsense
