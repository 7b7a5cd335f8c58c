from weave.logs import RateLimit


def test_kinds_that_strangers_make_up_are_bounded() -> None:
    limit = RateLimit(burst=2, interval_s=10.0, max_kinds=8)
    admitted = [limit.admit(f"stranger {number}", 1.0) for number in range(100)]
    assert sum(answer is not None for answer in admitted) == 8 + 2
    assert len(limit._windows) <= 9
    assert limit.admit("somebody later", 20.0) == 0, "windows that ended make room"
    assert len(limit._windows) == 1
