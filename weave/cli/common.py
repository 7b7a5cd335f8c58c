"""What the commands share: the client of the router they speak to, and output for people or programs."""

import json
from collections.abc import Callable
from functools import wraps

import click

from weave.api.client import Client


def socket_path() -> str | None:
    """Return what `--socket` or `WEAVE_SOCKET` say, None for the default."""
    given: str | None = click.get_current_context().find_root().obj
    return given


def client() -> Client:
    """Return a client of the router of this host."""
    return Client(socket_path())


def printing(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command that prints for people `-o json` and `--json`; it is called with `as_json`."""

    @click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text",
                  help="Print text for people (default) or JSON for programs.")
    @click.option("--json", "is_json", is_flag=True, help="The same as -o json.")
    @wraps(function)
    def command(*args: object, output: str, is_json: bool, **options: object) -> None:
        function(*args, as_json=is_json or output == "json", **options)

    return command


def print_json(value: object) -> None:
    """Print a value as JSON, indented as Weave's report is."""
    click.echo(json.dumps(value, indent=4))


def print_addresses(value: object, *, as_json: bool) -> None:
    """Print the addresses of an answer without prefix lengths on one line, as Weave does, or the answer itself."""
    if as_json:
        print_json(value)
        return
    assert isinstance(value, dict)
    click.echo(" ".join(str(address).partition("/")[0] for address in value["addresses"]))
