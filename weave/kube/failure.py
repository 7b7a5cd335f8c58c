"""What the API server, or the way to it, can answer instead of what was asked."""

from weave.errors import EnvironmentFailure

BAD_REQUEST = 400
GONE = 410
CONFLICT = 409
NOT_FOUND = 404
TOO_LARGE = 413
"""Ours, too: what the server sent is beyond our bounds."""
_ADVICE = {
    401: "it does not know us; the token of the service account may have expired or been removed",
    403: "we may not; apply the roles of the manifest again",
    NOT_FOUND: "there is no such thing",
    CONFLICT: "somebody changed it meanwhile",
    GONE: "what we knew is outdated",
}


class ApiFailure(EnvironmentFailure):
    """One request failed; `status` is None where no answer came at all."""

    def __init__(self, what: str, status: int | None, said: str = "", retry_after_s: float = 0.0) -> None:
        """Say what was attempted, what the server answered, and when it wants to be asked again."""
        detail = f": {said}" if said else ""
        advice = f"; {_ADVICE[status]}" if status in _ADVICE else ""
        answer = "got no answer" if status is None else f"was answered {status}"
        super().__init__(f"{what} {answer}{detail}{advice}")
        self.what = what
        self.status = status
        self.said = said
        self.retry_after_s = retry_after_s
