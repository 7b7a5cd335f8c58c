import json

import pytest

from bench.harness import CannotMeasure, exclusive, run, scratch
from bench.registry import benches
from bench.report import Result, Verdict

GOOD = Result("unit-test", verdicts=[Verdict("ratio", 1, 0.5)])


@pytest.fixture(autouse=True)
def _locks(tmp_path, monkeypatch):
    monkeypatch.setattr("bench.harness.LOCK_DIR", tmp_path / "locks")


def test_a_goal_not_reached_is_still_a_measurement(capsys):
    short = Result("unit-test", verdicts=[Verdict("ratio", 0.1, 0.5)])
    assert run("unit-test", lambda _given: short, []) == 0
    assert capsys.readouterr().out == "unit-test ratio=0.1 goal=0.5 short\n"


def test_what_cannot_be_measured_is_one_line_and_status_1(capsys):
    def measure(_given):
        raise CannotMeasure("iperf3 is not installed")

    assert run("unit-test", measure, []) == 1
    assert capsys.readouterr().err == "unit-test: cannot measure: iperf3 is not installed\n"


def test_json_is_data(capsys):
    run("unit-test", lambda _given: GOOD, ["--json"])
    assert json.loads(capsys.readouterr().out)["verdicts"][0]["met"] is True


def test_one_run_of_a_kind_at_a_time():
    with exclusive("unit-test"), pytest.raises(CannotMeasure, match="another run"), exclusive("unit-test"):
        pass


def test_scratch_removes_what_a_crashed_run_left(tmp_path):
    (tmp_path / "weave-bench-x").mkdir()
    (tmp_path / "weave-bench-x" / "old").touch()
    with scratch("x", tmp_path) as place:
        assert list(place.iterdir()) == []
        (place / "new").touch()
    assert not place.exists()


def test_every_bench_says_what_it_measures_and_what_it_should_reach():
    assert benches()
    assert all(bench.measured and bench.goal and callable(bench.main) for bench in benches().values())
