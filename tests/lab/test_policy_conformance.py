"""One conformance case in twenty on the real kernel; `python -m tests.conformance.policy --kernel` runs them all."""

from collections.abc import Iterator

import pytest

from tests.conformance.policy.case import Case
from tests.conformance.policy.kernel import KernelEngine, kernel_engine
from tests.conformance.policy.runner import run
from tests.conformance.policy.suites import cases
from tests.lab.world import LAB

pytestmark = LAB
EVERY = 20
CASES = list(cases())[::EVERY]


@pytest.fixture(scope="module")
def engine() -> Iterator[KernelEngine]:
    with kernel_engine() as made:
        yield made


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.suite}, {case.category}, {case.name}")
def test_packets_pass_where_the_case_says_so(engine: KernelEngine, case: Case) -> None:
    made, failures = run(case, engine)
    assert made
    assert not failures
