"""Refusals that a client can tell apart by a machine-readable reason.

The router raises these (or a plain `LocalError`, `EnvironmentFailure`) from its `Control` methods; `weave.api.replies`
turns each into an HTTP status and a JSON body, and the client turns that body back into one line for a person.
"""

from weave.errors import EnvironmentFailure, LocalError


class NotFound(LocalError):  # noqa: N818 - a refusal, named for what it says
    """What the caller named does not exist here: 404 `not-found`."""


class FeatureOff(LocalError):  # noqa: N818 - a refusal, named for what it says
    """The caller needs a service this router was told not to run, such as address allocation: 404 `off`."""


class Conflict(LocalError):  # noqa: N818 - a refusal, named for what it says
    """What the caller asked for contradicts what exists, such as an address in use: 409 `conflict`."""


class NotReady(EnvironmentFailure):
    """The router cannot serve this yet, or is going down; asking again later makes sense: 503 `not-ready`."""
