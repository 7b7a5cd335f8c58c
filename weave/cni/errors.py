"""Refusals in the words of CNI: a code that runtimes know, and a sentence for people."""

from collections.abc import Mapping
from enum import IntEnum

from weave.errors import LocalError


class Code(IntEnum):
    """Why a request failed (CNI 1.1.0, "Error"); from 100 on the codes are ours."""

    INCOMPATIBLE_VERSION = 1
    UNSUPPORTED_FIELD = 2
    UNKNOWN_CONTAINER = 3
    """The runtime need not clean up."""
    INVALID_ENVIRONMENT = 4
    IO_FAILURE = 5
    UNDECODABLE = 6
    INVALID_CONFIG = 7
    TRY_AGAIN = 11
    UNAVAILABLE = 50
    """No container can be added now."""
    REFUSED = 100
    """What was asked for contradicts what is there."""
    DIFFERENT = 101
    """CHECK found something missing or changed."""
    DELEGATE = 102
    """Another plugin that we called could not be run, or made no sense."""
    INTERNAL = 999


class CniError(LocalError):
    """A request that fails, as its runtime is told."""

    def __init__(self, code: int, message: str, details: str = "") -> None:
        """Keep the code and the sentence; `details` may hold more for people."""
        super().__init__(message)
        self.code = code
        self.details = details


def error_value(version: str, code: int, message: str, details: str = "") -> Mapping[str, object]:
    """Return the JSON object that tells a runtime of a failure."""
    more = {"details": details} if details else {}
    return {"cniVersion": version, "code": int(code), "msg": message, **more}
