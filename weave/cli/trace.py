"""`weave trace`: what becomes of a packet, told by the routers at both ends and, where it runs, by weave-npc."""

import os
from typing import TYPE_CHECKING, cast

import click

from weave.api.client import Refused
from weave.api.trace import SYMBOLS, broken, render_trace
from weave.cli.common import client, print_json, printing
from weave.cli.npc import npc_option, running
from weave.cli.target import identify
from weave.errors import LocalError, WeaveError

if TYPE_CHECKING:
    from weave.api.trace import StepReport, TraceReport
    from weave.npc.model import Protocol

DEFAULT_PORT = "tcp/80"


@click.command(epilog="Example: weave trace web db tcp/5432")
@click.argument("source", metavar="FROM")
@click.argument("destination", metavar="TO")
@click.argument("port", metavar="[PROTOCOL/PORT]", required=False)
@npc_option
@printing
def trace(source: str, destination: str, port: str | None, npc_socket: str, as_json: bool) -> None:
    """Explain the way of a packet between two ends, there and back, and tell what is in the way.

    An end is an address, a name, NAMESPACE/POD, a container (its id or the beginning, or what `weave attach` takes), a
    peer, or `host` for this host. Where weave-npc runs on this host, network policy has its say about PROTOCOL/PORT
    (tcp/80). Nothing is sent and nothing is changed. Ends with 1 where something is in the way.
    """
    from weave.npc.explain import parse_port

    protocol = parse_port(port or DEFAULT_PORT)
    told = _ask(source, destination)
    if os.path.exists(npc_socket):
        told["Legs"][0]["Steps"].append(_policy(told, port or DEFAULT_PORT, protocol, npc_socket))
    elif port is not None:
        told["Legs"][0]["Steps"].append(_not_asked(port, npc_socket))
    if as_json:
        print_json(told)
    else:
        click.echo(render_trace(told), nl=False)
    if broken(told):
        raise LocalError(f"{source} and {destination} do not reach each other; see what is "
                         f"{'broken' if as_json else SYMBOLS['broken']}")


def _ask(source: str, destination: str) -> "TraceReport":
    """Return the trace; words that the router does not know may be this host's runtimes' names of containers."""
    try:
        return _told(source, destination)
    except Refused as exc:
        if exc.reason != "not-found":
            raise
        words = _identified(source), _identified(destination)
        if words == (source, destination):
            raise
    told = _told(*words)
    told["From"]["Word"], told["To"]["Word"] = source, destination
    return told


def _told(source: str, destination: str) -> "TraceReport":
    return cast("TraceReport", client().value("GET", "trace", query={"from": source, "to": destination}))


def _identified(word: str) -> str:
    """Return the id of the container that a word means on this host, or the word itself; a pod stays a pod."""
    return word if "/" in word and not word.startswith("/") else identify(word).ident


def _not_asked(port: str, npc_socket: str) -> "StepReport":
    """Return that policy is in doubt: rules stay in the kernel without a controller, and who names a port means it."""
    return {"Step": "policy", "State": "doubt",
            "Text": f"policy was not asked about {port}: no weave-npc listens on this host at {npc_socket}"}


def _policy(told: "TraceReport", port: str, protocol: "tuple[Protocol | None, int]", npc_socket: str) -> "StepReport":
    """Return what network policy decides; that the controller does not answer is told as such."""
    from weave.npc.evaluator import Connection, Policies
    from weave.npc.explain import denial, find_ends

    try:
        policies = Policies(running(npc_socket))
    except WeaveError as exc:
        return {"Step": "policy", "State": "doubt", "Text": f"weave-npc of this host cannot be asked: {exc}"}
    ends = find_ends(policies, told["From"]["Address"], told["To"]["Address"])
    reason = denial(policies, Connection(*ends, *protocol))
    return {"Step": "policy", "State": "broken" if reason else "ok",
            "Text": f"{port}: {reason}" if reason else f"{port} is allowed; `weave policy trace` says why"}
