"""Every plugin in every case; see `plugins` and `cases`. The table: `python -m tests.conformance.cni`.

Here the combinations of plugins are asked in the newest version only: their versions are those of their halves.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.cni.cases import CASES, Case
from tests.conformance.cni.plugin import Plugin
from tests.conformance.cni.plugins import REFERENCE, all_plugins
from tests.lab.world import LAB

pytestmark = [*LAB, pytest.mark.skipif(not (REFERENCE / "bridge").exists(),
                                       reason="containernetworking-plugins are not installed")]


THOROUGH = ("bridge + host-local", "weave-net, script")


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Plugin]]:
    with all_plugins(Path(tmp_path_factory.mktemp("cni"))) as found:
        yield found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_plugins_do_what_the_specification_asks(case: Case, plugins: list[Plugin]) -> None:
    for plugin in plugins:
        versions = case.applies(plugin)
        for version in versions if plugin.name in THOROUGH else versions[-1:]:
            try:
                case.check(plugin, version)
            except Exception as exc:
                exc.add_note(f"{plugin.name}, version {version}")
                raise
