"""Commands that start and end the router of this host: launch, router, stop, reset."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from weave.api.client import Client, Refused, Unreachable
from weave.cli.common import client, print_json, printing, socket_path
from weave.errors import LocalError
from weave.settings import build_parser, hide_password, parse_settings

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

READY_DEADLINE_S = 60.0
"""A router is ready within a second or two; a host that is busy booting may take a while."""
END_DEADLINE_S = 15.0
POLL_S = 0.05
ANSWER_S = 5.0
_PASS_ON = {"ignore_unknown_options": True}


class _WithRouterOptions(click.Command):
    """A command that takes the router's options too."""

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Offer them beside its own."""
        from click.shell_completion import CompletionItem

        found = super().shell_complete(ctx, incomplete)
        if not incomplete.startswith("-"):
            return found
        known = {item.value for item in found}
        return found + [CompletionItem(word, help=action.help) for action in build_parser()._actions
                        if action.help != argparse.SUPPRESS
                        for word in action.option_strings if word.startswith(incomplete) and word not in known]


@click.command(cls=_WithRouterOptions,
               context_settings={**_PASS_ON, "help_option_names": [], "allow_interspersed_args": False},
               epilog="Example: weave router --password-file /etc/weave/password 192.0.2.1")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[OPTION|PEER]...")
def router(words: Sequence[str]) -> None:
    """Run the router of this host in the foreground."""
    kept, secret = hide_password(words)
    command = _command(kept)
    os.execve(command[0], command, _environment(secret))  # noqa: S606 - our own program


@click.command(cls=_WithRouterOptions, context_settings=_PASS_ON,
               epilog="Example: weave launch --nickname h1 192.0.2.1 192.0.2.2")
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[OPTION|PEER]...")
@click.option("--log-file", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Where the router logs (router.log in its state directory).")
@printing
def launch(words: Sequence[str], log_file: Path | None, as_json: bool) -> None:
    """Start the router of this host in the background, wait until it is ready, print its peer name.

    Takes the options of `weave router` besides its own; see `weave router --help`.
    """
    kept, secret = hide_password(words)
    environment = _environment(secret)
    if secret is not None:
        ours = [*(["--json"] if as_json else []), *([] if log_file is None else ["--log-file", str(log_file)])]
        again = [sys.executable, "-P", "-m", "weave", "launch", *ours, *kept]
        os.execve(again[0], again, environment)  # noqa: S606 - our own program again
    settings = parse_settings(kept, environment)
    there = Client(settings.socket)
    if _status(there) is not None:
        raise LocalError("weave is already running; you can stop it with `weave stop`.")
    log = log_file or settings.state_dir / "router.log"
    process, start = _spawn(_command(kept), environment, log)
    _wait_until_ready(process, there, log, start)
    report = there.report()["Router"]
    if as_json:
        print_json({"name": report["Name"], "nickname": report["NickName"], "pid": process.pid, "log": str(log)})
    else:
        click.echo(report["Name"])


def _command(words: Sequence[str]) -> list[str]:
    return [sys.executable, "-P", "-m", "weave.router", *words]  # -P: never import from where we happen to be


def _environment(secret: str | None) -> dict[str, str]:
    """Return the router's environment; what the root's `--socket` said stands in for the variable."""
    changes = {"WEAVE_SOCKET": socket_path(), "WEAVE_PASSWORD": secret}
    return {**os.environ, **{name: value for name, value in changes.items() if value is not None}}


def _spawn(command: Sequence[str], environment: dict[str, str], log: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start the router apart from our terminal; return it and where in the log its lines begin."""
    try:
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with log.open("ab") as file:
            start = file.tell()
            process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                       start_new_session=True)
    except OSError as exc:
        raise LocalError(f"cannot start the router with its log at {log}: {exc.strerror}; run as root, or say another "
                         "--state-dir or --log-file") from exc
    return process, start


def _wait_until_ready(process: "subprocess.Popen[bytes]", there: Client, log: Path, start: int) -> None:
    deadline = time.monotonic() + READY_DEADLINE_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise LocalError(f"the router ended: {_last_line(log, start)} (log: {log})")
        if _status(there) == 200:
            return
        time.sleep(POLL_S)
    raise LocalError(f"the router is not ready after {READY_DEADLINE_S:g} s, but still at it; see `weave status` and "
                     f"{log}")


def _status(there: Client) -> int | None:
    """Return the HTTP status of the status page, None where no router answers."""
    try:
        return there.request("GET", "status", timeout_s=ANSWER_S).status
    except Unreachable:
        return None


def _last_line(log: Path, start: int) -> str:
    try:
        with log.open("rb") as file:
            file.seek(start)
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "without a word"


@click.command(epilog="Example: weave stop")
def stop() -> None:
    """Stop the router; containers stay attached and keep talking."""
    _stop(wipe=False)


def _stop(*, wipe: bool) -> None:
    there = client()
    pid = there.server_pid()
    there.call("POST", "stop", body={"wipe": wipe})
    deadline = time.monotonic() + END_DEADLINE_S
    while time.monotonic() < deadline:
        if _status(there) is None and not _is_running(pid):
            return
        time.sleep(POLL_S)
    raise LocalError(f"the router was told to stop, but still runs after {END_DEADLINE_S:g} s; see its log")


def _is_running(pid: int) -> bool:
    """Say whether a process runs; one that ended and was not collected yet does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


@click.command(epilog="Example: weave reset   (on the host that leaves; elsewhere nothing is needed)")
@click.option("--force", is_flag=True,
              help="Remove what weave made also where the router is not running and cannot give its addresses away.")
@click.option("--bridge", metavar="NAME", help="With --force: the bridge of that router.")
@click.option("--vxlan-port", metavar="PORT", help="With --force: its port of VXLAN.")
@click.option("--state-dir", metavar="DIR", help="With --force: where its state is kept.")
def reset(force: bool, **options: str | None) -> None:
    """Leave the network for good: give our addresses to other peers, stop, remove everything weave made here.

    A router that runs knows what it made. With --force, and none running, say the options that it was started with.
    """
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value is not None]
    if words and not force:
        raise click.UsageError(f"{words[0].partition('=')[0]} goes with --force: a router that runs knows its own")
    try:
        client().call("DELETE", "peer")
    except Refused as refusal:
        if not force and refusal.reason != "off":
            raise
    except Unreachable as exc:
        if not force:
            raise LocalError(f"{exc}; or use --force, and `weave rmpeer` on another host") from exc
        _wipe_at_rest(words)
        return
    _stop(wipe=True)


def _wipe_at_rest(words: Sequence[str]) -> None:
    """Have the router program clean up without running a router, by these of its options; say what is gone."""
    environment = _environment(None)
    settings = parse_settings(words, environment)
    done = subprocess.run(_command(["--wipe", *words]), env=environment, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["without a word"]
        raise LocalError(f"cannot remove what weave made: {lines[-1]}")
    click.echo(f"removed the bridge {settings.bridge}, the devices of VXLAN port {settings.vxlan_port} and the state "
               f"in {settings.state_dir}; run `weave rmpeer` on another host")


