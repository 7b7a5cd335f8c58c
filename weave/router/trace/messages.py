"""What one router asks another to make a trace complete, and its answer: how they become bytes.

    question  map {"q": number, "f": address, "t": address}     from and to: 4 octets or 16
    answer    map {"a": number, "s": list of [step, state, text]}

Unknown keys are skipped. What is shown to people is bounded, and printable.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from weave.addresses import IPAddress
from weave.api.trace import SYMBOLS, StepReport
from weave.wire import WireError, expect_bytes, expect_int, expect_list, expect_map, expect_str, pack, unpack

KIND = "trace"
MAX_BYTES = 1 << 14
MAX_STEPS = 16
MAX_NAME = 32
MAX_TEXT = 512


@dataclass(frozen=True, slots=True)
class Question:
    """What becomes of a packet from an address of the host that is asked to another?"""

    number: int
    source: IPAddress
    destination: IPAddress


@dataclass(frozen=True, slots=True)
class Answer:
    """What becomes of it, step by step."""

    number: int
    steps: tuple[StepReport, ...]


def encode_question(question: Question) -> bytes:
    """Return a question as bytes."""
    return pack({"q": question.number, "f": question.source.packed, "t": question.destination.packed})


def encode_answer(number: int, steps: Sequence[StepReport]) -> bytes:
    """Return an answer as bytes; what is longer than may be is cut."""
    return pack({"a": number, "s": [[step["Step"], step["State"], step["Text"][:MAX_TEXT]]
                                    for step in steps[:MAX_STEPS]]})


def decode(payload: bytes) -> Question | Answer:
    """Return what a peer asks or answers; raise `WireError` for anything else."""
    body = expect_map(unpack(payload, max_bytes=MAX_BYTES), "a message of a trace")
    if "q" in body:
        return Question(expect_int(body["q"], "a number"), _address(body.get("f")), _address(body.get("t")))
    rows = expect_list(body.get("s"), "steps", most=MAX_STEPS)
    return Answer(expect_int(body.get("a"), "a number"), tuple(map(_step, rows)))


def _address(value: object) -> IPAddress:
    octets = expect_bytes(value, "an address", most=16)
    if len(octets) not in (4, 16):
        raise WireError(f"address of {len(octets)} octets")
    return ip_address(octets)


def _step(value: object) -> StepReport:
    name, told, text = expect_list(value, "a step", size=3)
    state = next((known for known in SYMBOLS if known == told), None)
    if state is None:
        raise WireError("a step should be ok, doubt or broken")
    return {"Step": expect_str(name, "the name of a step", most=MAX_NAME), "State": state,
            "Text": expect_str(text, "the text of a step", most=MAX_TEXT)}
