"""What a plugin says when it is asked for its versions, and what happens when it says nothing of use."""

import json
import stat
from pathlib import Path

import pytest
import trio

from tests.unit.kube.server import run, until
from weave.kube import portmap
from weave.kube.portmap import known_versions, read_versions


def plugin(directory, script):
    program = directory / "portmap"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def known(directory):
    found = []

    async def ask():
        found.append(await known_versions(directory))

    run(ask)
    return found[0]


def test_plugin_is_asked_as_the_specification_says(tmp_path):
    plugin(tmp_path, f"""
env > {tmp_path}/env; cat > {tmp_path}/stdin
echo '{{"cniVersion": "1.0.0", "supportedVersions": ["1.0.0", "0.4.0", "9.0.0"]}}'""")
    assert known(tmp_path) == ("0.4.0", "1.0.0")
    told = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert told.keys() - {"PWD", "_", "SHLVL", "OLDPWD"} == {"CNI_COMMAND", "CNI_PATH", "PATH"}
    assert told["CNI_COMMAND"] == "VERSION"
    assert json.loads((tmp_path / "stdin").read_text()) == {"cniVersion": "1.0.0"}


def test_there_is_none(tmp_path):
    assert known(tmp_path) is None


@pytest.mark.parametrize("script", ["exit 3", "exec <&-; echo nothing", "yes", "exec sleep 60", "sleep 60 & exit 0"])
def test_what_gives_no_answer_knows_nothing(tmp_path, monkeypatch, script):
    monkeypatch.setattr(portmap, "DEADLINE_S", 0.3)
    plugin(tmp_path, script)
    assert known(tmp_path) == ()


def test_what_cannot_be_run_knows_nothing(tmp_path):
    program = plugin(tmp_path, "")
    program.chmod(stat.S_IRUSR)
    assert known(tmp_path) == ()
    program.chmod(0o755)
    program.write_text("#!/no/such/loader\n")
    assert known(tmp_path) == ()


def test_plugin_does_not_outlive_an_agent_that_ends(tmp_path):
    pid = tmp_path / "pid"
    plugin(tmp_path, f"echo $$ > {pid}; exec sleep 60")

    async def play():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(known_versions, tmp_path)
            await until(lambda: pid.exists() and pid.read_text().strip())
            nursery.cancel_scope.cancel()

    run(play)
    assert not Path("/proc", pid.read_text().strip()).exists()


@pytest.mark.parametrize("answer", [b"", b"[]", b"{}", b'{"supportedVersions": "1.0.0"}', b"\xff", b"[" * 100_000,
                                    b'{"supportedVersions": [1, null, {}]}'])
def test_answers_without_sense(answer):
    assert read_versions(answer) == ()
