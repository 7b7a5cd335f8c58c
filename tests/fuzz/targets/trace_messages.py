"""What another router asks or answers for a trace. Allowed: a message that survives the wire, `WireError`."""

from ipaddress import ip_address

from weave.api.trace import render_trace
from weave.router.trace.messages import Answer, Question, decode, encode_answer, encode_question
from weave.wire import WireError

_NOBODY = {"Word": "", "Address": "", "ContainerID": "", "Interface": "", "MAC": "", "Peer": "", "NickName": ""}


def target(data: bytes) -> None:
    try:
        message = decode(data)
    except WireError:
        return
    if isinstance(message, Question):
        assert decode(encode_question(message)) == message
        return
    assert decode(encode_answer(message.number, message.steps)) == message
    shown = render_trace({"From": _NOBODY, "To": _NOBODY, "Legs": [  # type: ignore[typeddict-item]
        {"Peer": "", "NickName": "", "Steps": list(message.steps)}]})
    assert shown.replace("\n", "").isprintable()


SEEDS: list[bytes] = [
    encode_question(Question(1, ip_address("10.32.0.1"), ip_address("10.40.0.1"))),
    encode_question(Question(1, ip_address("fd00::1"), ip_address("fd00::2"))),
    encode_answer(1, Answer(1, (
        {"Step": "container", "State": "ok", "Text": "ethwe is up"},
        {"Step": "link", "State": "broken", "Text": "there is no link"})).steps),
]
