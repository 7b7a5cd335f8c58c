"""A trace as text."""

import pytest

from tests.unit.api.fake import a_trace
from weave.api.trace import State, broken, render_trace

TEXT = """\
c1 (10.32.0.9, on h1) -> 10.40.0.1, on h2

from h1
  ok      container   ethwe is up
  ok      link        vxlan to 10.0.0.9

and back, from h2
  {:<6}  container   eth0 it is

{}
"""


@pytest.mark.parametrize(("state", "symbol", "verdict"), [
    ("ok", "ok", "Nothing is in the way."),
    ("doubt", "?", "Nothing is known to be in the way, but see what is marked ?."),
    ("broken", "BROKEN", "In the way: h2, container."),
])
def test_a_trace_ends_with_the_worst_that_was_found(state: State, symbol: str, verdict: str) -> None:
    assert render_trace(a_trace("c1", "10.40.0.1", state)) == TEXT.format(symbol, verdict)


def test_only_what_is_broken_is_in_the_way() -> None:
    assert broken(a_trace("c1", "c2", "doubt")) == []
    assert broken(a_trace("c1", "c2", "broken")) == ["h2, container"]


def test_an_address_that_nobody_has_stands_alone() -> None:
    trace = a_trace("c1", "10.32.0.99", "ok")
    trace["To"] = {"Word": "10.32.0.99", "Address": "10.32.0.99", "ContainerID": "", "Interface": "", "MAC": "",
                   "Peer": "", "NickName": ""}
    assert render_trace(trace).startswith("c1 (10.32.0.9, on h1) -> 10.32.0.99\n")
