"""Every case of every suite, judged by the evaluator."""

from collections import Counter

import pytest

from tests.conformance.policy.runner import by_evaluator, by_naive_matcher, run
from tests.conformance.policy.suites import cases

CASES = list(cases())
CATEGORIES = sorted({(case.suite, case.category) for case in CASES})


def test_suites_are_complete():
    assert Counter(case.suite for case in CASES) == {"cyclonus": 230, "netpol": 48, "cluster policy": 24}
    assert sum(len(case.steps) for case in CASES if case.suite == "cluster policy") == 92
    assert len({(case.suite, case.category, case.name) for case in CASES}) == len(CASES)


@pytest.mark.parametrize(("suite", "category"), CATEGORIES)
def test_evaluator_agrees(suite, category):
    failed = {case.name: failures for case in CASES if (case.suite, case.category) == (suite, category)
              if (failures := run(case, by_evaluator)[1])}
    assert not failed


@pytest.mark.parametrize("suite", ["netpol", "cluster policy"])
def test_naive_matcher_agrees_with_the_suites_own_expectations(suite):
    failed = {case.name: failures for case in CASES if case.suite == suite
              if (failures := run(case, by_naive_matcher)[1])}
    assert not failed
