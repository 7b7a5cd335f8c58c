"""What one operation of the API is: the row of the one table that routes, checks arguments and documents.

`weave.api.app` makes routes of the rows, `weave.api.arguments` checks requests against their fields, and
`weave.api.openapi` writes the document; there is no other list of operations that could drift from this one.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weave.api.arguments import Call
    from weave.api.replies import Reply

DEFAULT_DEADLINE_S = 10.0
"""Memory, disk and kernel answer in milliseconds; whatever takes this long is broken, and the caller should know."""
WAIT_DEADLINE_S = 30.0
"""Operations that may need another peer: several request rounds over a slow link."""
MAX_WAIT_S = 600


class Shape(Enum):
    """What a field may hold."""

    TEXT = "text"
    FLAG = "flag"
    NUMBER = "number"
    TEXTS = "texts"


@dataclass(frozen=True, slots=True)
class Field:
    """One argument of an operation, given in the query, in a form or in a JSON object."""

    name: str
    shape: Shape
    description: str
    example: str | int | bool | tuple[str, ...]
    required: bool = False
    minimum: int = 0
    maximum: int = 65535


Handler = Callable[["Call"], Awaitable["Reply"]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    summary: str
    handler: Handler
    answer: str
    """What a success carries, in words."""
    fields: tuple[Field, ...] = ()
    subject: str = ""
    deadline_s: float = DEFAULT_DEADLINE_S
    waits: bool = False
    """It may wait for other peers: takes a `timeout`, and ends when the client hangs up."""
    takes_octets: bool = False
    """Its body is not fields but whatever it is, handed on as it comes."""
    is_public: bool = False
    """It only reads what may be shown to whoever reaches the metrics port."""

    @property
    def all_fields(self) -> tuple[Field, ...]:
        """Return the fields, with those that every operation of this kind has."""
        return (*self.fields, TIMEOUT) if self.waits else self.fields

    @property
    def has_body(self) -> bool:
        """Say whether the fields are meant to come in a body."""
        return self.method in ("POST", "PUT")


TIMEOUT = Field("timeout", Shape.NUMBER, "Seconds to wait at most; 504 when they are over.", 30, minimum=1,
                maximum=MAX_WAIT_S)

PATH_PARAMETERS = {
    "plugin": ("weave-net or weave-ipam.", "weave-net"),
    "container": ("Id of a container, or a word such as weave:expose.", "c0ffee0c0ffe"),
    "ident": ("Id of whoever holds the address.", "c0ffee0c0ffe"),
    "address": ("An IPv4 or IPv6 address.", "10.32.0.5"),
    "length": ("Length of the subnet's prefix.", "12"),
    "peer": ("Name or nickname of a peer.", "7a:9f:eb:b6:0c:6e"),
    "part": ("targets, connections, peers, dns, ipam, endpoints or links.", "connections"),
    "name": ("A name; our domain may be left out.", "c1.weave.local."),
}
"""Every word that a path may hold in braces, with what it means and an example."""
