"""Addresses: who owns which part of the range, and who uses which address.

The core (`IpamCore`) decides and knows no I/O; `IpamService` runs it on trio with a store. Names are loaded when they
are first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weave.ipam.allocators import Allocators
    from weave.ipam.core import IpamCore
    from weave.ipam.effects import Answer, Effect, Outcome, Persist, Publish, SendTo
    from weave.ipam.errors import AddressNotHeld, AddressTaken, Released
    from weave.ipam.modes import Consensus, InitMode, Observer, Seed
    from weave.ipam.service import IpamService, Reservation
    from weave.ipam.views import IpamView, OwnerView, PaxosView, RangeView

__all__ = [
    "AddressNotHeld",
    "AddressTaken",
    "Allocators",
    "Answer",
    "Consensus",
    "Effect",
    "InitMode",
    "IpamCore",
    "IpamService",
    "IpamView",
    "Observer",
    "Outcome",
    "OwnerView",
    "PaxosView",
    "Persist",
    "Publish",
    "RangeView",
    "Released",
    "Reservation",
    "Seed",
    "SendTo",
]

_HOMES = {
    "Allocators": "allocators",
    "IpamCore": "core",
    **dict.fromkeys(("IpamService", "Reservation"), "service"),
    **dict.fromkeys(("Answer", "Effect", "Outcome", "Persist", "Publish", "SendTo"), "effects"),
    **dict.fromkeys(("AddressNotHeld", "AddressTaken", "Released"), "errors"),
    **dict.fromkeys(("Consensus", "InitMode", "Observer", "Seed"), "modes"),
    **dict.fromkeys(("IpamView", "OwnerView", "PaxosView", "RangeView"), "views"),
}


def __getattr__(name: str) -> object:
    """Load a public name from its module when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
