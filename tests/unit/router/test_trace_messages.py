"""What routers ask each other for a trace, as bytes."""

from ipaddress import ip_address

import pytest

from weave.api.trace import StepReport
from weave.router.trace.messages import MAX_STEPS, MAX_TEXT, Answer, Question, decode, encode_answer, encode_question
from weave.wire import Plain, WireError, pack

STEP: StepReport = {"Step": "link", "State": "doubt", "Text": "vxlan to 10.0.0.9"}


@pytest.mark.parametrize("address", ["10.32.0.1", "fd00::1"])
def test_a_question_survives_the_wire(address: str) -> None:
    question = Question(7, ip_address(address), ip_address("10.40.0.1"))
    assert decode(encode_question(question)) == question


def test_an_answer_survives_the_wire() -> None:
    assert decode(encode_answer(7, [STEP, STEP])) == Answer(7, (STEP, STEP))
    assert decode(encode_answer(7, [])) == Answer(7, ())


def test_an_answer_is_cut_to_what_may_be() -> None:
    long: StepReport = {**STEP, "Text": "x" * (MAX_TEXT + 1)}
    found = decode(encode_answer(7, [long] * (MAX_STEPS + 1)))
    assert isinstance(found, Answer)
    assert len(found.steps) == MAX_STEPS
    assert found.steps[0]["Text"] == "x" * MAX_TEXT


def test_keys_of_later_versions_are_skipped() -> None:
    octets = pack({"a": 7, "s": [["link", "ok", "fine"]], "new": 1})
    assert decode(octets) == Answer(7, ({"Step": "link", "State": "ok", "Text": "fine"},))


@pytest.mark.parametrize("body", [
    [], {}, {"q": 1}, {"q": -1, "f": b"abcd", "t": b"abcd"}, {"q": 1, "f": b"abcde", "t": b"abcd"},
    {"q": 1, "f": "10.32.0.1", "t": b"abcd"}, {"a": 1}, {"s": []}, {"a": 1, "s": [["link", "ok"]]},
    {"a": 1, "s": [["link", "fine", "text"]]}, {"a": 1, "s": [["link", ["ok"], "text"]]},
    {"a": 1, "s": [["link", "ok", "\x1b[2J"]]}, {"a": 1, "s": [["link", "ok", "x" * (MAX_TEXT + 1)]]},
    {"a": 1, "s": [["x" * 33, "ok", ""]]}, {"a": 1, "s": [["link", "ok", ""]] * (MAX_STEPS + 1)},
], ids=str)
def test_what_was_not_agreed_is_refused(body: Plain) -> None:
    with pytest.raises(WireError):
        decode(pack(body))


@pytest.mark.parametrize("end", range(len(encode_answer(7, [STEP]))))
def test_a_message_cut_short_is_refused(end: int) -> None:
    with pytest.raises(WireError):
        decode(encode_answer(7, [STEP])[:end])
