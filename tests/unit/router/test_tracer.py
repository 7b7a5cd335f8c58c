"""What a router does with messages of a trace that it cannot use."""

from ipaddress import ip_address

import pytest

from tests.unit.api.fake import report
from weave.names import PeerName
from weave.router.trace.messages import Question, encode_answer, encode_question
from weave.router.trace.tracer import MAX_WAITING, Tracer

PEER = PeerName("02:00:00:00:00:02")
QUESTION = encode_question(Question(1, ip_address("10.32.0.9"), ip_address("10.40.0.1")))


@pytest.fixture
def tracer() -> Tracer:
    """Return one that nobody runs, so that what it takes in stays where it is put."""
    return Tracer(mesh=None, datapath=None, containers=None, report=report, routes_subnets=False)  # type: ignore[arg-type]


def test_what_makes_no_sense_is_counted(tracer: Tracer) -> None:
    tracer.message(PEER, b"nonsense")
    assert tracer.refused == {"malformed trace": 1}


def test_no_more_questions_wait_than_there_is_room_for(tracer: Tracer) -> None:
    for _ in range(MAX_WAITING + 2):
        tracer.message(PEER, QUESTION)
    assert tracer.refused == {"too many traces": 2}


def test_an_answer_that_nobody_waits_for_is_dropped(tracer: Tracer) -> None:
    tracer.message(PEER, encode_answer(1, []))
    assert not tracer.refused
