"""The runner itself: what it finds, what it keeps, and that it does the same every time."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest

from tests.fuzz.mutate import mutations
from tests.fuzz.runner import FuzzError, Target, feed, limited_address_space, run_all, target_names, traced_memory


def toy(tmp_path: Path, run: Callable[[bytes], None], **more: float) -> Target:
    return Target("toy", run, [b"seed"], tmp_path / "toy", **more)  # type: ignore[arg-type]


def fail_on_long(data: bytes) -> None:
    if len(data) > 40:
        raise KeyError("missing")


def spin(_data: bytes) -> None:
    while True:
        pass


def swallow_everything(data: bytes) -> None:
    try:
        spin(data)
    except Exception:
        return


def test_failing_input_is_told_in_hex_and_kept(tmp_path: Path) -> None:
    with pytest.raises(FuzzError, match="KeyError") as told:
        run_all(toy(tmp_path, fail_on_long))
    (saved,) = (tmp_path / "toy").iterdir()
    assert saved.read_bytes().hex() in str(told.value)
    assert saved.name in str(told.value)


def test_input_is_kept_once(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(FuzzError, match="KeyError"):
            run_all(toy(tmp_path, fail_on_long))
    assert len(list((tmp_path / "toy").iterdir())) == 1


def test_kept_input_is_replayed_first(tmp_path: Path) -> None:
    seen: list[bytes] = []
    target = toy(tmp_path, seen.append, mutations=3)
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "crash-1").write_bytes(b"once broke it")
    run_all(target)
    assert seen[:2] == [b"seed", b"once broke it"]


@pytest.mark.parametrize("run", [spin, swallow_everything])
def test_input_that_takes_too_long_fails(tmp_path: Path, run: Callable[[bytes], None]) -> None:
    with pytest.raises(FuzzError, match="processor time"):
        feed(toy(tmp_path, run, max_cpu_s=0.05), [b"x"])


def test_input_that_takes_too_much_memory_fails(tmp_path: Path) -> None:
    target = toy(tmp_path, lambda data: bytearray(1 << 20).clear(), max_peak_bytes=1 << 16)
    with traced_memory(), pytest.raises(FuzzError, match="bytes of memory"):
        feed(target, [b"x"])


def test_allocation_of_gigabytes_fails(tmp_path: Path) -> None:
    with limited_address_space(), pytest.raises(FuzzError, match="MemoryError"):
        feed(toy(tmp_path, lambda data: bytearray(1 << 34).clear()), [b"x"])


def test_mutations_are_the_same_every_time_and_differ_among_themselves() -> None:
    one, other = (list(islice(mutations("toy", [b"abc", b"defghi"], 100), 500)) for _ in range(2))
    assert one == other
    assert len(set(one)) > 400
    assert max(map(len, one)) <= 100


def test_mutations_of_nothing_are_something() -> None:
    assert any(islice(mutations("toy", [], 100), 20))


def test_targets_are_found() -> None:
    assert {"wire", "handshake"} <= set(target_names())
