"""Commands about other peers: connect, forget, rmpeer, prime."""

import time
from collections.abc import Sequence

import click

from weave.api.client import Refused
from weave.cli.common import client, print_json, printing
from weave.errors import LocalError

PRIME_ROUND_S = 60
"""Length of one request while we wait; the router ends it, we ask again."""


@click.command(epilog="Example: weave connect --replace 192.0.2.1 192.0.2.2:6783")
@click.option("--replace", is_flag=True, help="Make these the only targets; alone it drops them all.")
@click.argument("peers", nargs=-1, metavar="[PEER]...")
def connect(peers: Sequence[str], replace: bool) -> None:
    """Add peers (host or host:port) to connect to."""
    if not peers and not replace:
        raise click.UsageError("name at least one peer, or use --replace to drop all targets")
    client().call("POST", "connect", body={"peer": list(peers), "replace": replace})


@click.command(epilog="Example: weave forget 192.0.2.7")
@click.argument("peers", nargs=-1, required=True, metavar="PEER...")
def forget(peers: Sequence[str]) -> None:
    """Drop peers to connect to; a connection that stands is kept."""
    client().call("POST", "forget", body={"peer": list(peers)})


@click.command(epilog="Example: weave rmpeer h2   (only when h2 is dead for good; `weave reset` there is better)")
@click.argument("peers", nargs=-1, required=True, metavar="PEER...")
@printing
def rmpeer(peers: Sequence[str], as_json: bool) -> None:
    """Take over the addresses of peers, by name or nickname, that died for good."""
    refusals: list[Refused] = []
    done: list[object] = []
    for peer in peers:
        try:
            answer = client().value("DELETE", "peer", peer)
        except Refused as exc:
            refusals.append(exc)
            continue
        assert isinstance(answer, dict)
        done.append(answer)
        if not as_json:
            click.echo(f"{answer['addresses']} IPs taken over from {peer}")
    if as_json:
        print_json(done)
    for refusal in refusals[1:]:
        click.echo(f"weave: {refusal}", err=True)
    if refusals:
        raise refusals[0]


@click.command(epilog="Example: weave prime --timeout 60 && start-my-containers")
@click.option("--timeout", type=click.IntRange(min=1), metavar="SECONDS", help="Give up after so long (never).")
def prime(timeout: int | None) -> None:
    """Wait until the peers have agreed how to divide the addresses."""
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        left = PRIME_ROUND_S if deadline is None else min(PRIME_ROUND_S, round(deadline - time.monotonic()))
        wait = max(1, left)
        try:
            client().call("GET", "ring", query={"timeout": str(wait)}, timeout_s=wait + 10)
        except Refused as exc:
            if exc.reason != "deadline":
                raise
            if deadline is not None and time.monotonic() >= deadline - 0.5:
                raise LocalError(f"the peers have not agreed on the addresses within {timeout} s; `weave status ipam` "
                                 "says what is missing") from exc
        else:
            return
