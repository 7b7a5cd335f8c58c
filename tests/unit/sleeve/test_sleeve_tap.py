"""Whether a host has TAP devices."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from weave.net.sleeve import tap


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    tap.has_tap.cache_clear()
    yield
    tap.has_tap.cache_clear()


@pytest.mark.parametrize("device", ["a directory", "no device", "another device", "nothing"])
def test_a_file_of_that_name_makes_no_tap_devices(device: str, tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a directory").mkdir()
    (tmp_path / "no device").touch()
    (tmp_path / "another device").symlink_to("/dev/null")
    monkeypatch.setattr(tap, "DEVICE", str(tmp_path / device))
    assert not tap.has_tap()
