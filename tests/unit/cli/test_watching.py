"""`weave status --watch`: pages until somebody presses ctrl-c."""

from collections.abc import Callable
from io import StringIO
from itertools import count

import pytest
from rich.console import Console

from tests.unit.api.fake import FakeControl
from tests.unit.cli.conftest import Run
from weave.cli import watching
from weave.cli.watching import watch
from weave.errors import EnvironmentFailure


@pytest.fixture
def _pressed_after_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody presses ctrl-c while a second page is shown."""
    slept = count(1)

    def sleep(seconds: float) -> None:
        assert seconds == watching.INTERVAL_S
        if next(slept) % 2 == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(watching, "sleep", sleep)


def pages(*texts: str) -> Callable[[], str]:
    """Return a page that says another thing each time; an empty one is a router that does not answer."""
    left = iter(texts)

    def page() -> str:
        text = next(left)
        if not text:
            raise EnvironmentFailure("no router answers")
        return text

    return page


@pytest.mark.usefixtures("_pressed_after_two")
def test_pages_follow_each_other_where_there_is_no_screen() -> None:
    console = Console(file=StringIO(), force_terminal=False)
    watch("weave status", pages("one\n", "two\n"), console)
    assert console.file.getvalue() == "one\n\ntwo\n\n"  # type: ignore[attr-defined]


@pytest.mark.usefixtures("_pressed_after_two")
def test_a_router_that_does_not_answer_is_shown() -> None:
    console = Console(file=StringIO(), force_terminal=False)
    watch("weave status", pages("", "two\n"), console)
    assert console.file.getvalue() == "weave: no router answers\n\ntwo\n\n"  # type: ignore[attr-defined]


@pytest.mark.usefixtures("_pressed_after_two")
def test_a_page_takes_the_screen_and_gives_it_back() -> None:
    console = Console(file=StringIO(), force_terminal=True, width=80, height=10, color_system=None)
    watch("weave status", pages("one [bold]\n", "two\n"), console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert shown.startswith("\x1b[?1049h")
    assert "\x1b[?1049l" in shown
    assert shown.count("weave status, every 2 s; end with ctrl-c") == 2
    assert "one [bold]" in shown
    assert "two" in shown


@pytest.mark.usefixtures("_pressed_after_two", "router")
def test_the_command_shows_what_it_shows_without(run: Run) -> None:
    for words in (["status"], ["status", "links"]):
        watched, once = run(*words, "--watch"), run(*words)
        assert watched.exit_code == once.exit_code == 0
        assert watched.stdout == (once.stdout.removeprefix("\n") if len(words) == 1 else f"{once.stdout}\n") * 2


def test_programs_do_not_watch(router: FakeControl, run: Run) -> None:
    assert run("status", "--watch", "--json").exit_code == 2
