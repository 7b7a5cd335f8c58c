"""Commands that only look: status, report, ps, version."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from weave import __version__
from weave.api.client import NotRunning, decode_json, refusal_in
from weave.api.render import short_id
from weave.cli.common import client, print_json, printing
from weave.errors import LocalError

if TYPE_CHECKING:
    from weave.api.http1 import Answer
    from weave.api.report import Report

PARTS = ("targets", "connections", "peers", "dns", "ipam", "endpoints", "links")
EXPOSE = "weave:expose"
_TEMPLATE = re.compile(r"\{\{\s*\.?([\w.-]*)\s*\}\}")


@click.command(epilog="Example: weave status connections")
@click.argument("part", required=False, type=click.Choice(PARTS), metavar="[" + "|".join(PARTS) + "]")
@click.option("-w", "--watch", "again", is_flag=True, help="Show it every 2 s until ctrl-c.")
@printing
def status(part: str | None, again: bool, as_json: bool) -> None:
    """Show how the router is doing, or one part of it in full."""
    words = ["status", part] if part else ["status"]
    if again and as_json:
        raise click.UsageError("--watch is for people; programs ask again by themselves")
    if again:
        from weave.cli.watching import watch

        router = client()
        watch(f"weave {' '.join(words)}", lambda: _page(router.request("GET", *words)))
        return
    answer = client().request("GET", *words, accept="application/json" if as_json else "text/plain")
    text = _page(answer)
    if as_json:
        print_json(decode_json(answer))
    else:
        click.echo(text if part else f"\n{text}", nl=not part)
    if answer.status != 200:
        raise LocalError("the router is not ready yet; what it waits for is in the status above or in its log")


def _page(answer: "Answer") -> str:
    """Return the text of a page; raise the refusal where the router has none."""
    refusal = refusal_in(answer)
    if refusal is not None:
        raise refusal
    return answer.text


@click.command(epilog="Example: weave report -f Router.Name")
@click.option("-f", "--format", "path", metavar="PATH",
              help="Print one value only: Router.Name, IPAM.Entries.0.Token; {{ .Router.Name }} will do too.")
def report(path: str | None) -> None:
    """Print everything the router knows of itself, as JSON."""
    value: object = client().report()
    if path is None:
        print_json(value)
        return
    value = select(value, path)
    click.echo(value if isinstance(value, str) else json.dumps(value))


def select(value: object, path: str) -> object:
    """Return the value at a dotted path, also written as Go templates have it; `.` is everything."""
    template = _TEMPLATE.fullmatch(path.strip())
    for word in (template[1] if template else path).strip(".").split("."):
        match value:
            case _ if not word:
                continue
            case dict() if word in value:
                value = value[word]
            case list() if word.isdecimal() and int(word) < len(value):
                value = value[int(word)]
            case dict():
                raise LocalError(f"the report has no {word!r} there; there are {', '.join(map(str, value))}")
            case list():
                raise LocalError(f"{word!r} should be a number below {len(value)}")
            case _:
                raise LocalError(f"the report has nothing below {value!r}")
    return value


@click.command(epilog="Example: weave version")
@printing
def version(as_json: bool) -> None:
    """Print the version of this command and, where it runs, of the router."""
    if not as_json:
        click.echo(f"weave command {__version__}")
    try:
        running: str | None = client().report()["Version"]
    except NotRunning:
        running = None
    if as_json:
        print_json({"command": __version__, "router": running})
    else:
        click.echo(f"weave router {running}" if running else "weave router is not running")


@click.command(epilog="Example: weave ps c0ffee0c0ffe")
@click.argument("containers", nargs=-1, metavar="[CONTAINER]...")
@printing
def ps(containers: Sequence[str], as_json: bool) -> None:
    """List the containers attached on this host (or those named): id, MAC, addresses; and the host itself."""
    attached = client().value("GET", "attachments")
    assert isinstance(attached, list)
    rows = [_expose_row(client().report()), *attached]
    wanted = [row for row in rows if not containers or any(_is_meant(row, word) for word in containers)]
    if as_json:
        print_json(wanted)
        return
    for row in wanted:
        click.echo(" ".join([short_id(row["container"]), row["mac"], *row["addresses"]]))
    for word in containers:
        if not any(_is_meant(row, word) for row in rows):
            click.echo(f"weave: no container {word} is attached here", err=True)


def _expose_row(report: "Report") -> dict[str, object]:
    bridge = report["Bridge"]
    return {"container": EXPOSE, "interface": bridge["Name"], "mac": bridge["MAC"], "mtu": bridge["MTU"],
            "addresses": bridge["Addresses"]}


def _is_meant(row: Mapping[str, object], word: str) -> bool:
    """Say whether a word names the container: its id, or the beginning of it."""
    return str(row["container"]) == word or (len(word) >= 3 and str(row["container"]).startswith(word))
