import json

import pytest

from bench.report import AT_MOST, Result, Row, Verdict, number, table

MET = Verdict("ratio", 0.97, 0.95)
SHORT = Verdict("attach", 4.125, 3, AT_MOST, "ms")


def test_last_line_of_one_figure():
    assert Result("vxlan", verdicts=[MET]).last_line() == "vxlan ratio=0.97 goal=0.95 met"


def test_last_word_speaks_for_the_whole_line():
    line = Result("x", verdicts=[SHORT, MET]).last_line()
    assert line == "x ratio=0.97 goal=0.95 met; attach=4.12ms goal<=3ms short"


@pytest.mark.parametrize(("verdict", "met"), [
    (Verdict("a", 1, 1), True), (Verdict("a", 0.99, 1), False),
    (Verdict("a", 1, 1, AT_MOST), True), (Verdict("a", 1.01, 1, AT_MOST), False),
])
def test_bounds_belong_to_the_goal(verdict, met):
    assert verdict.is_met is met


@pytest.mark.parametrize(("value", "text"), [(0.12345, "0.123"), (12.345, "12.3"), (12345.6, "12,346"), (0, "0")])
def test_numbers_have_three_digits_that_count(value, text):
    assert number(value) == text


def test_table_aligns_numbers_to_the_right():
    assert table([("a", "1 s"), ("bcd", "10 s")]) == ["a     1 s", "bcd  10 s"]


def test_text_is_table_notes_and_last_line():
    result = Result("n", [Row.of("x", [1.0, 1.0], "ms")], [MET], ["quiet machine"])
    assert result.as_text().splitlines() == ["x  1 ms  ±0%", "note: quiet machine", "n ratio=0.97 goal=0.95 met"]


def test_json_carries_everything():
    data = json.loads(json.dumps(Result("n", [Row("x", 1.5, "ms")], [SHORT], ["a"]).as_json()))
    assert data["rows"] == [{"what": "x", "value": 1.5, "unit": "ms", "spread": None, "note": ""}]
    assert data["verdicts"] == [{"label": "attach", "value": 4.125, "unit": "ms", "goal": "goal<=3ms", "met": False}]
