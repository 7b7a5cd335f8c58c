"""The kernel: bridge, VXLAN, forwarding entries, firewall, containers' interfaces. Only this package touches them.

`Datapath` is the face: `async with Datapath.open(config) as datapath`, then `set_remotes`, `set_endpoints`, `attach`.
Names are loaded when they are first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weave.net.datapath import Datapath
    from weave.net.model import (
        Attachment,
        AttachRequest,
        BridgeState,
        DatapathConfig,
        Endpoint,
        InsideState,
        Remote,
        Route,
    )
    from weave.net.shaping import Limit

__all__ = ["AttachRequest", "Attachment", "BridgeState", "Datapath", "DatapathConfig", "Endpoint", "InsideState",
           "Limit", "Remote", "Route"]
_HOMES = {"Datapath": "datapath", "Limit": "shaping"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"weave.net.{_HOMES.get(name, 'model')}"), name)
