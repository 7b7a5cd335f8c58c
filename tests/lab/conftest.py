"""The lab that the tests of containers, names, expose and metrics share: three hosts with a password."""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.lab.world import TRUSTED, World, world
from weave.lab.names import UNDERLAY

UPSTREAM = UNDERLAY.network_address + 253
"""Where `test_names` runs a name server; for everybody else it is one that does not answer."""


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Give the shared lab; whoever uses it leaves hosts and links as they were found, containers removed."""
    resolv_conf: Path = tmp_path_factory.mktemp("shared") / "resolv.conf"
    resolv_conf.write_text(f"nameserver {UPSTREAM}\n")
    with world("shared", 3, (*TRUSTED, f"--resolv-conf={resolv_conf}")) as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show beside a failure what the routers of its lab had to say."""
    report = yield
    if report.failed:
        used = [value for value in getattr(item, "funcargs", {}).values() if isinstance(value, World)]
        report.sections.extend(("routers", made.logs()) for made in dict.fromkeys(used))
    return report
