"""`weave lab`: hosts in network namespaces on this machine, to try weave without other machines."""

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from weave.errors import LocalError

if TYPE_CHECKING:
    from weave.lab.lab import Lab


@click.group()
@click.option("--lab", "name", default="lab", show_default=True, metavar="NAME", help="Which lab; several can be up.")
@click.pass_context
def lab(context: click.Context, name: str) -> None:
    """Make hosts in network namespaces on this machine, each with a real router (needs root).

    \b
    Example:
      weave lab up 3 --password secret --trusted-subnets 198.51.100.0/24
      weave lab run h1 web && weave lab run h2 client
      weave lab exec client -- ping -c 1 web
      weave lab exec h1 -- weave status connections
      weave lab down
    """
    context.obj = name


def _lab(context: click.Context) -> "Lab":
    from weave.lab.lab import Lab

    return Lab(context.obj)


@lab.command(context_settings={"ignore_unknown_options": True})
@click.argument("hosts", type=int, default=3)
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def up(context: click.Context, hosts: int, options: tuple[str, ...]) -> None:
    """Bring the lab up to this many HOSTS; further options go to the routers of the new ones."""
    fresh = _lab(context).up(hosts, options=options)
    click.echo(f"{' '.join(fresh)} up" if fresh else f"{hosts} hosts are up already")


@lab.command()
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", help="For people or programs.")
@click.option("--json", "as_json", is_flag=True, help="The same as -o json.")
@click.pass_context
def ls(context: click.Context, output: str, as_json: bool) -> None:
    """List the hosts, their routers and containers."""
    hosts = _lab(context).hosts()
    if as_json or output == "json":
        click.echo(json.dumps([asdict(host) for host in hosts], indent=2))
        return
    for host in hosts:
        click.echo(f"{host.name:<6} {host.address:<15} {host.router:<22} {' '.join(host.containers)}".rstrip())


@lab.command(name="exec", context_settings={"ignore_unknown_options": True})
@click.argument("place")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def exec_(context: click.Context, place: str, words: tuple[str, ...]) -> None:
    """Run a command on a host or in a container: weave lab exec h1 -- weave status."""
    command, environment = _lab(context).command(place, words)
    os.execvpe(command[0], command, environment)  # noqa: S606 - what the person typed


@lab.command()
@click.argument("host")
@click.argument("name")
@click.pass_context
def run(context: click.Context, host: str, name: str) -> None:
    """Make a container called NAME on HOST, attached to the network, with weave DNS; print its addresses."""
    click.echo(" ".join(_lab(context).run(host, name)))


@lab.command()
@click.argument("name")
@click.pass_context
def rm(context: click.Context, name: str) -> None:
    """Detach a container and remove it."""
    _lab(context).remove(name)


@lab.command()
@click.argument("a")
@click.argument("b")
@click.pass_context
def cut(context: click.Context, a: str, b: str) -> None:
    """Cut the underlay between two hosts."""
    _lab(context).cut(a, b)


@lab.command()
@click.pass_context
def heal(context: click.Context) -> None:
    """Undo every cut."""
    _lab(context).heal()


@lab.command()
@click.argument("host")
@click.pass_context
def kill(context: click.Context, host: str) -> None:
    """End the router of HOST with kill -9; its containers stay."""
    _lab(context).kill(host)


@lab.command()
@click.argument("host")
@click.pass_context
def start(context: click.Context, host: str) -> None:
    """Start the router of HOST again."""
    _lab(context).start(host)


@lab.command()
@click.argument("host")
@click.pass_context
def logs(context: click.Context, host: str) -> None:
    """Print the log of the router of HOST."""
    path = _lab(context).log_file(host)
    if not path.exists():
        raise LocalError(f"{host} has no log; `weave lab ls` shows the hosts")
    click.echo(path.read_text(errors="replace"), nl=False)


@lab.command()
@click.option("--all", "every", is_flag=True, help="Every lab on this machine.")
@click.pass_context
def down(context: click.Context, every: bool) -> None:
    """Remove the lab: processes, namespaces, files; also what a crash left."""
    from weave.lab.lab import Lab, all_labs

    for name in all_labs() if every else [context.obj]:
        Lab(name).down()
