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
        Remote,
        Route,
    )
    from weave.net.sleeve.client import SleeveClient, SleeveConfig, end_sleeve
    from weave.net.sleeve.keys import sleeve_psk
    from weave.net.sleeve.messages import Keys
    from weave.net.sleeve.model import PeerConfig, PeerStatus
    from weave.net.sleeve.tap import has_tap
    from weave.net.sleeve.wire import Key

_PLACES = {
    "Datapath": "datapath", "SleeveClient": "sleeve.client", "SleeveConfig": "sleeve.client",
    "end_sleeve": "sleeve.client", "sleeve_psk": "sleeve.keys", "Keys": "sleeve.messages",
    "PeerConfig": "sleeve.model", "PeerStatus": "sleeve.model", "has_tap": "sleeve.tap", "Key": "sleeve.wire",
}
__all__ = ["AttachRequest", "Attachment", "BridgeState", "Datapath", "DatapathConfig", "Endpoint", "Key", "Keys",
           "PeerConfig", "PeerStatus", "Remote", "Route", "SleeveClient", "SleeveConfig", "end_sleeve", "has_tap",
           "sleeve_psk"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"weave.net.{_PLACES.get(name, 'model')}"), name)
