"""`weave-kube` as a process: what it says when it cannot start, and that it ends when told to."""

import os
import signal
import subprocess
import sys

import pytest

from weave.kube.main import has_second_password
from weave.kube.options import parse_options

COMMAND = [sys.executable, "-P", "-c", "from weave.kube.main import main; main()"]
DEADLINE_S = 60


def environment(**changes):
    kept = {name: value for name, value in os.environ.items()
            if name not in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "NODE_NAME")}
    return {**kept, **changes}


@pytest.mark.parametrize(("words", "environ", "sentence"), [
    (["agent"], {}, "NODE_NAME"),
    (["agent"], {"NODE_NAME": "n1"}, "--kubeconfig"),
    (["router"], {"NODE_NAME": "n1", "EXTRA_ARGS": "--wipe"}, "--wipe cannot be given here"),
])
def test_what_cannot_be_is_one_sentence(words, environ, sentence):
    done = subprocess.run([*COMMAND, *words], env=environment(**environ), capture_output=True, text=True,
                          timeout=DEADLINE_S, check=False)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("content", "is_there"), [(None, False), ("", False), ("\n", False), ("new", True)])
def test_second_password_is_one_that_is_not_empty(tmp_path, content, is_there):
    file = tmp_path / "accept"
    if content is not None:
        file.write_text(content)
    assert has_second_password(parse_options(["router", "--accept-file", str(file)], {"NODE_NAME": "n1"})) is is_there


@pytest.mark.parametrize("command", ["agent", "router"])
def test_it_ends_when_told_to_though_no_api_server_answers(tmp_path, command):
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text("""
current-context: c
contexts: [{name: c, context: {cluster: k, user: u}}]
clusters: [{name: k, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {}}]
""")
    words = [command, "--kubeconfig", str(kubeconfig), "--state-dir", str(tmp_path / "state"),
             "--socket", str(tmp_path / "weave.sock"), "--ready-file", str(tmp_path / "ready")]
    with subprocess.Popen([*COMMAND, *words], env=environment(NODE_NAME="n1"), stderr=subprocess.PIPE,
                          text=True) as process:
        assert process.stderr is not None
        assert "no answer" in process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0
