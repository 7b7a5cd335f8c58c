"""A page that is shown again and again until somebody presses ctrl-c."""

from collections.abc import Callable
from time import sleep
from typing import TYPE_CHECKING

from weave.errors import WeaveError

if TYPE_CHECKING:
    from rich.console import Console

INTERVAL_S = 2.0


def watch(title: str, page: Callable[[], str], console: "Console | None" = None) -> None:
    """Show a page every `INTERVAL_S`, on the whole screen where there is one, else one after the other.

    A router that does not answer is shown, too, and asked again.
    """
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = console or Console()
    head = f"{title}, every {INTERVAL_S:g} s; end with ctrl-c\n\n"
    try:
        if not console.is_terminal:
            while True:
                console.file.write(f"{_look(page)}\n")
                console.file.flush()
                sleep(INTERVAL_S)
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(Text(head + _look(page)), refresh=True)
                sleep(INTERVAL_S)
    except KeyboardInterrupt:
        return


def _look(page: Callable[[], str]) -> str:
    try:
        return page()
    except WeaveError as exc:
        return f"weave: {exc}\n"
