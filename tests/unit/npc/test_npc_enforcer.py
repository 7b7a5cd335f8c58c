"""What the kernel needs so that rules see the traffic of a bridge."""

from pathlib import Path

import pytest

from weave.errors import EnvironmentFailure
from weave.npc.enforcer import BRIDGE_SYSCTLS, prepare_bridge


def test_the_bridge_is_made_to_show_its_packets(tmp_path: Path) -> None:
    for name in BRIDGE_SYSCTLS:
        (tmp_path / name).write_text("0\n")
    prepare_bridge(tmp_path)
    assert [(tmp_path / name).read_text() for name in BRIDGE_SYSCTLS] == ["1", "1"]


def test_a_module_that_is_missing_is_loaded(tmp_path: Path) -> None:
    root = tmp_path / "bridge"

    def load() -> None:
        root.mkdir()
        for name in BRIDGE_SYSCTLS:
            (root / name).write_text("1\n")

    prepare_bridge(root, load)
    with pytest.raises(EnvironmentFailure, match="br_netfilter"):
        prepare_bridge(tmp_path / "never", lambda: None)
