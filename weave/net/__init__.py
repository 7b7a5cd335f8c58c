"""The kernel: bridge, VXLAN, forwarding entries, firewall, containers' interfaces. Only this package touches them.

`Datapath` is the face: `async with Datapath.open(config) as datapath`, then `set_remotes`, `set_endpoints`, `attach`.
Names are loaded when they are first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weave.net.crypt.candidates import Claim, features_of, read_features
    from weave.net.crypt.capability import KernelAbility, probe_kernel
    from weave.net.crypt.effects import SecureLink, TunnelQuality
    from weave.net.crypt.keys import INNER_NETWORK, inner_address
    from weave.net.crypt.pact_messages import Way
    from weave.net.crypt.peer import Counterpart
    from weave.net.crypt.service import CryptConfig, SecureLinks, wipe_links
    from weave.net.datapath import Datapath
    from weave.net.groups import Membership, Receivers, is_pruned
    from weave.net.model import (
        Attachment,
        AttachRequest,
        BridgeState,
        DatapathConfig,
        Endpoint,
        Grant,
        InsideState,
        Mac,
        Remote,
        Route,
        WayState,
        in_order,
    )
    from weave.net.mtu import SegmentMtu, read_claim
    from weave.net.shaping import Limit
    from weave.net.sleeve.client import SleeveClient, SleeveConfig, end_sleeve
    from weave.net.sleeve.keys import sleeve_psk
    from weave.net.sleeve.messages import Keys
    from weave.net.sleeve.model import PeerConfig, PeerStatus
    from weave.net.sleeve.tap import has_tap
    from weave.net.sleeve.wire import Key
    from weave.net.vxlan_proof import VxlanWay
    from weave.net.vxlan_proving import VxlanProver

_PLACES = {
    "Datapath": "datapath", "Limit": "shaping", "SleeveClient": "sleeve.client", "SleeveConfig": "sleeve.client",
    "end_sleeve": "sleeve.client", "sleeve_psk": "sleeve.keys", "Keys": "sleeve.messages", "Claim": "crypt.candidates",
    "features_of": "crypt.candidates", "read_features": "crypt.candidates", "KernelAbility": "crypt.capability",
    "probe_kernel": "crypt.capability", "SecureLink": "crypt.effects", "TunnelQuality": "crypt.effects",
    "Membership": "groups", "Receivers": "groups", "is_pruned": "groups",
    "SegmentMtu": "mtu", "read_claim": "mtu", "INNER_NETWORK": "crypt.keys", "inner_address": "crypt.keys",
    "Way": "crypt.pact_messages", "Counterpart": "crypt.peer", "CryptConfig": "crypt.service",
    "SecureLinks": "crypt.service", "wipe_links": "crypt.service", "PeerConfig": "sleeve.model",
    "PeerStatus": "sleeve.model", "has_tap": "sleeve.tap", "Key": "sleeve.wire", "VxlanWay": "vxlan_proof",
    "VxlanProver": "vxlan_proving",
}
__all__ = [
    "INNER_NETWORK", "AttachRequest", "Attachment", "BridgeState", "Claim", "Counterpart",
    "CryptConfig", "Datapath", "DatapathConfig", "Endpoint", "Grant", "InsideState", "KernelAbility", "Key", "Keys",
    "Limit", "Mac", "Membership", "PeerConfig", "PeerStatus", "Receivers", "Remote", "Route", "SecureLink",
    "SecureLinks", "SegmentMtu", "SleeveClient", "SleeveConfig", "TunnelQuality", "VxlanProver", "VxlanWay", "Way",
    "WayState", "end_sleeve", "features_of", "has_tap", "in_order", "inner_address", "is_pruned", "probe_kernel",
    "read_claim", "read_features", "sleeve_psk", "wipe_links",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"weave.net.{_PLACES.get(name, 'model')}"), name)
