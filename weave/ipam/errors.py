"""What the allocator refuses, told apart so that an API can answer with the right status."""

from weave.errors import LocalError


class AddressTaken(LocalError):  # noqa: N818 - a refusal, named for what it says
    """The address is in use by somebody else."""


class AddressNotHeld(LocalError):  # noqa: N818 - a refusal, named for what it says
    """The address to be released is not held by who wants to release it."""


class Released(LocalError):  # noqa: N818 - a refusal, named for what it says
    """Whoever the address was meant for was released while the request waited."""
