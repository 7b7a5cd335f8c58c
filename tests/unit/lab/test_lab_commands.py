"""What a command that runs in a lab is told: everything that says which router is meant."""

from pathlib import Path

import pytest

from weave.errors import EnvironmentFailure, LocalError
from weave.lab.lab import Lab
from weave.lab.state import HostState, Process, locked


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    """A lab of which only the notes are there."""
    monkeypatch.setattr("weave.lab.state.LABS_DIR", tmp_path)
    (tmp_path / "lab").mkdir()
    with locked("lab") as state:
        state.hosts["h1"] = HostState(1, [], None, ["web"])
        state.hosts["h2"] = HostState(2, ["--password", "secret"], Process(1, 1))
    return Lab()


@pytest.mark.parametrize(("place", "home"), [("h1", "h1"), ("web", "h1"), ("net", "net")])
def test_a_command_in_a_lab_finds_nothing_of_the_machines_own_router(
    place: str, home: str, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`weave reset --force` in a lab removed the state of the machine's router."""
    for name in ("WEAVE_SOCKET", "WEAVE_STATE_DIR", "WEAVE_NPC_SOCKET"):
        monkeypatch.setenv(name, "/the/machines/own")
    _, environment = lab.command(place, ["weave", "reset", "--force"])
    files = {name: environment[f"WEAVE_{name}"] for name in ("SOCKET", "STATE_DIR", "NPC_SOCKET")}
    base = tmp_path / "lab" / home
    assert files == {"SOCKET": f"{base}/weave.sock", "STATE_DIR": f"{base}/state", "NPC_SOCKET": f"{base}/npc.sock"}


def test_options_for_routers_that_are_up_already_are_refused(lab: Lab) -> None:
    """They would have changed nothing, in silence."""
    with pytest.raises(LocalError, match="options are for the routers of new ones"):
        lab.up(2, options=["--password", "other"])


def test_a_container_is_removed_though_the_router_of_its_host_does_not_run(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[str] = []
    monkeypatch.setattr("weave.lab.kernel.delete_namespace", removed.append)
    lab.remove("web")
    assert removed == ["weavelab-lab-h1.web"]
    assert [host.containers for host in lab.hosts()] == [(), ()]


def test_a_command_that_fails_in_a_lab_is_quoted_without_its_own_name(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab, "command", lambda *_: (["sh", "-c", "echo weave: no >&2; false"], {}))
    with pytest.raises(EnvironmentFailure, match=r"`weave detach` on h1: no$"):
        lab._weave("h1", "detach")
