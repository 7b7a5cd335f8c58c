"""Find devices that an earlier router of this host made under other options, and that nobody would look after. Pure.

Names follow the options `--bridge` and `--vxlan-port`. A VXLAN device of a former port would go on copying broadcasts
in plain to the peers of then, past a guard that watches the new port; a former bridge keeps the host's address and the
route to the containers. What others made is not ours to remove: the MAC, which follows from the name of our peer, tells
which are ours, and of VXLAN devices so does a place on our bridge.
"""

import re
from collections.abc import Sequence

from weave.net import naming
from weave.net.model import DatapathConfig
from weave.netlink.readings import Link

_TUNNEL = re.compile(r"vxlan6?-\d+")


def former_tunnels(links: Sequence[Link], config: DatapathConfig) -> list[Link]:
    """Return our VXLAN devices of other ports."""
    bridges = {link.index for link in links if link.name == config.bridge}
    return [link for link in links if link.kind == "vxlan" and _TUNNEL.fullmatch(link.name)
            and link.name not in config.tunnels.values()
            and (link.mac == naming.tunnel_mac(link.name, config.peer) or link.master in bridges)]


def former_bridges(links: Sequence[Link], config: DatapathConfig) -> list[Link]:
    """Return our bridges of other names, once nothing is plugged in there.

    One with ports may be another's: a bridge takes the MAC of a port, which may be that of a VLAN device of ours.
    """
    in_use = {link.master for link in links}
    return [link for link in links if link.kind == "bridge" and link.name != config.bridge
            and link.mac == naming.bridge_mac(config.peer) and link.index not in in_use]
