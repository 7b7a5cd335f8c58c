"""A trace: what becomes of a packet from one interface of the network to another, as the JSON of `GET /trace`.

Each host speaks for its own end: the first leg is the way there, told by the host of the sender; the second the way
back, told by the host of the receiver.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, TypedDict

State = Literal["ok", "doubt", "broken"]
SYMBOLS: Mapping[State, str] = {"ok": "ok", "doubt": "?", "broken": "BROKEN"}
STEP_WIDTH = 10
_SYMBOL_WIDTH = max(map(len, SYMBOLS.values()))


class StepReport(TypedDict):
    """One thing that a packet depends on."""

    Step: str
    """container, policy, route, neighbour, forwarding, link, ..."""
    State: State
    Text: str
    """A sentence: what is there, and where it is broken what to do."""


class LegReport(TypedDict):
    """The way from one end to the other, as the host of the first has it."""

    Peer: str
    NickName: str
    Steps: list[StepReport]


class TraceEndReport(TypedDict):
    """One end."""

    Word: str
    """As it was asked for."""
    Address: str
    ContainerID: str
    """Empty, as the rest, where nobody on the network has the address."""
    Interface: str
    MAC: str
    Peer: str
    NickName: str


class TraceReport(TypedDict):
    """Everything."""

    From: TraceEndReport
    To: TraceEndReport
    Legs: list[LegReport]


def broken(trace: TraceReport) -> list[str]:
    """Return what is in the way: the host and the step of each."""
    return [f"{leg['NickName']}, {step['Step']}" for leg in trace["Legs"] for step in leg["Steps"]
            if step["State"] == "broken"]


def render_trace(trace: TraceReport) -> str:
    """Return a trace as text."""
    lines = [f"{_end(trace['From'])} -> {_end(trace['To'])}"]
    for leg, title in zip(trace["Legs"], ("from {}", "and back, from {}"), strict=False):
        lines += ["", title.format(leg["NickName"]), *_steps(leg["Steps"])]
    return "\n".join([*lines, "", _verdict(trace), ""])


def _end(end: TraceEndReport) -> str:
    where = f", on {end['NickName']}" if end["NickName"] else ""
    return f"{end['Word']} ({end['Address']}{where})" if end["Word"] != end["Address"] else end["Address"] + where


def _steps(steps: Iterable[StepReport]) -> Iterable[str]:
    for step in steps:
        yield f"  {SYMBOLS[step['State']]:<{_SYMBOL_WIDTH}}  {step['Step']:<{STEP_WIDTH}}  {step['Text']}"


def _verdict(trace: TraceReport) -> str:
    found = broken(trace)
    if found:
        return f"In the way: {'; '.join(found)}."
    doubts = any(step["State"] == "doubt" for leg in trace["Legs"] for step in leg["Steps"])
    return "Nothing is known to be in the way, but see what is marked ?." if doubts else "Nothing is in the way."
