"""The shell completes words of the command line without a router, and without options that are not there."""

import pytest
from click.testing import CliRunner

from weave.cli.app import weave


@pytest.mark.parametrize(("words", "found"), [
    ("weave st", {"stop", "status"}),
    ("weave status ip", {"ipam"}),
    ("weave policy tr", {"trace"}),
    ("weave status --wa", {"--watch"}),
    ("weave launch --log-", {"--log-file", "--log-level", "--log-format"}),
    ("weave launch --wi", {""}),
    ("weave router --dns-d", {"--dns-domain"}),
])
def test_the_shell_completes(words: str, found: set[str]) -> None:
    count = len(words.split()) - 1
    done = CliRunner().invoke(weave, [], prog_name="weave", env={
        "_WEAVE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(count)})
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == found
