"""What the catalogue says about a name."""

from dataclasses import dataclass
from enum import Enum, auto

from weave.dns.labels import Labels


class Outcome(Enum):
    """The four ways a question can end."""

    RECORDS = auto()
    NODATA = auto()
    """The name exists, or something below it does, but has nothing of this type."""
    NXDOMAIN = auto()
    FOREIGN = auto()
    """Not in a zone of ours: a question for the upstream."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome for one name and type."""

    outcome: Outcome
    zone: Labels = ()
    """The zone of ours that the name is in."""
    rtype: int = 0
    """The type of the records; differs from the type asked for only where that was ANY."""
    rdatas: tuple[bytes, ...] = ()
    """The data of each record in wire form, sorted."""


FOREIGN = Finding(Outcome.FOREIGN)
