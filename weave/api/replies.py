"""Answers of the API: text for people, JSON for programs, and one JSON shape for every refusal.

A refusal is `{"error": "a sentence that says what to do", "reason": "a word for programs"}`. An error that nobody
foresaw is answered 500 without its details, which go to the log.
"""

import json
import logging
from dataclasses import dataclass

import trio
from starlette.responses import Response

from weave.api.errors import Conflict, FeatureOff, NotFound, NotReady
from weave.errors import EnvironmentFailure, LocalError, RemoteError, WeaveError

log = logging.getLogger("weave.api")

TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler answers; with both a text and a value, the client's `Accept` header chooses."""

    text: str | None = None
    value: object = None
    status: int = 200
    content_type: str = TEXT

    def to_response(self, *, wants_json: bool) -> Response:
        """Return the HTTP response; neither text nor value is 204."""
        if self.value is not None and (wants_json or self.text is None):
            return json_response(self.value, self.status)
        if self.text is not None:
            return Response(self.text, self.status, media_type=self.content_type)
        return Response(status_code=204)


DONE = Reply()

# The first line whose type fits decides.
_REFUSALS: tuple[tuple[type[BaseException], int, str], ...] = (
    (NotFound, 404, "not-found"),
    (FeatureOff, 404, "off"),
    (Conflict, 409, "conflict"),
    (LocalError, 400, "refused"),
    (NotReady, 503, "not-ready"),
    (EnvironmentFailure, 503, "environment"),
    (RemoteError, 503, "peer"),
)


def json_response(value: object, status: int = 200) -> Response:
    """Return a JSON response on one line: indenting a large report would stall the router, clients can do it."""
    return Response(json.dumps(value) + "\n", status, media_type="application/json")


def refusal(status: int, reason: str, sentence: str) -> Response:
    """Return the one shape of a refusal."""
    return json_response({"error": sentence, "reason": reason}, status)


def response_to(error: BaseException, deadline_s: float, what: str) -> Response:
    """Return the response to an error that ended `what` (method and path); log it where nobody foresaw it."""
    leaf = _leaf(error)
    if isinstance(leaf, trio.TooSlowError):
        return refusal(504, "deadline", f"{what} was not done within {deadline_s:g} s; ask again, or look at "
                       "`weave status` for what it waits for")
    for kind, status, reason in _REFUSALS:
        if isinstance(leaf, kind):
            return refusal(status, reason, str(leaf) or type(leaf).__name__)
    log.error("request failed", exc_info=error, extra={"weave_fields": {"request": what}})
    return refusal(500, "internal", f"{what} failed inside the router; its log says why")


def _leaf(error: BaseException) -> BaseException:
    """Return the error within a group that says most: one raised on purpose, if there is any."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [_leaf(inner) for inner in error.exceptions]
    foreseen = [leaf for leaf in leaves if isinstance(leaf, WeaveError | trio.TooSlowError)]
    return foreseen[0] if len(foreseen) == len(leaves) else next(x for x in leaves if x not in foreseen)
