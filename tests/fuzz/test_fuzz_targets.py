"""Every decoder that faces a network or a file survives its seeds, every input that once broke it, and mutations."""

import pytest

from tests.fuzz.runner import load, run_all, target_names


@pytest.mark.parametrize("name", target_names())
def test_target_survives_hostile_input(name: str) -> None:
    run_all(load(name))
