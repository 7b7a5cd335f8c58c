"""The root of the command line: the table of commands, lazy imports, exit statuses.

Exit status 0: done; 1: refused or failed, with one line on standard error; 2: wrong usage. Help of the root lists the
table without importing any command.
"""

import importlib
from importlib.util import find_spec
from typing import IO, Any

import click

from weave.errors import WeaveError

# command: (module, name in it, what it does)
COMMANDS = {
    "launch": ("lifecycle", "launch", "Start the router of this host in the background."),
    "router": ("lifecycle", "router", "Run the router of this host in the foreground."),
    "stop": ("lifecycle", "stop", "Stop the router."),
    "reset": ("lifecycle", "reset", "Leave the network for good and remove everything weave made on this host."),
    "status": ("status", "status", "Show how the router is doing."),
    "report": ("status", "report", "Print everything the router knows, as JSON."),
    "version": ("status", "version", "Print the versions of this command and of the router."),
    "ps": ("status", "ps", "List the containers attached on this host."),
    "connect": ("mesh", "connect", "Add peers to connect to."),
    "forget": ("mesh", "forget", "Drop peers to connect to."),
    "rmpeer": ("mesh", "rmpeer", "Take over the addresses of peers that died for good."),
    "prime": ("mesh", "prime", "Wait until addresses can be allocated."),
    "attach": ("containers", "attach", "Put a container on the network."),
    "detach": ("containers", "detach", "Take a container off the network."),
    "expose": ("containers", "expose", "Put the host itself on the network."),
    "hide": ("containers", "hide", "Take the host itself off the network."),
    "dns-add": ("names", "dns_add", "Register a name."),
    "dns-remove": ("names", "dns_remove", "Remove names."),
    "dns-lookup": ("names", "dns_lookup", "Look up a name."),
    "dns-args": ("names", "dns_args", "Print the options that give a Docker container weave DNS."),
    "policy": ("policy", "policy", "Explain and try out network policy."),
    "trace": ("trace", "trace", "Explain the way between two addresses."),
    "lab": ("lab", "lab", "Run hosts in network namespaces on this machine."),
    "demo": ("demo", "demo", "Show a small network on this machine, in one story."),
}


class _OneLine(click.ClickException):
    """A failure, told in one line."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Print it where people look for errors."""
        click.echo(f"weave: {self.format_message()}", err=True, file=file)


class LazyGroup(click.Group):
    """A group that imports a command when it runs; the table is all that its own help needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click calls it so
        """Return the commands whose module is part of this installation."""
        return [name for name, (module, _, _) in COMMANDS.items() if find_spec(f"weave.cli.{module}")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module, return the command."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, attribute, _ = COMMANDS[cmd_name]
        if find_spec(f"weave.cli.{module}") is None:
            return None
        command = getattr(importlib.import_module(f"weave.cli.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands out of the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][2]) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; turn our own errors into one line and status 1."""
        try:
            return super().invoke(ctx)
        except WeaveError as exc:
            raise _OneLine(" ".join(str(exc).split())) from exc


@click.group(cls=LazyGroup, name="weave", epilog="Example: weave launch 192.0.2.1 && weave status")
@click.option("--socket", metavar="PATH", envvar="WEAVE_SOCKET",
              help="Where the router listens (WEAVE_SOCKET; /run/weave/weave.sock).")
@click.pass_context
def weave(ctx: click.Context, socket: str | None) -> None:
    """Connect containers on all hosts to one network, with addresses and names."""
    ctx.obj = socket


@weave.command(name="help", hidden=True)
@click.pass_context
def help_(ctx: click.Context) -> None:
    """Show what `weave --help` shows."""
    click.echo(ctx.find_root().get_help())
