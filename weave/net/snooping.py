"""Hear which multicast groups have members on this host, as the bridge learns it by IGMP and MLD.

A socket hears when that changes; what it is now is then read whole, for a notice may be lost and a list may not.
"""

import socket
from collections.abc import Collection

import trio

from weave.net.groups import Membership, is_pruned, mac_of
from weave.net.limits import MEMBERSHIP_GATHERS_S, TOLD_GROUPS
from weave.net.namespace import run_there
from weave.netlink import messages
from weave.netlink.connection import Netlink
from weave.netlink.constants import NETLINK_ROUTE, RTNLGRP_MDB
from weave.netlink.listener import drain, listen
from weave.netlink.readings import read_groups


class Snooping:
    """Own the socket that hears of groups; answer who is a member of what."""

    def __init__(self, netlink: Netlink, namespace: int | None) -> None:
        """Listen in a network namespace from now on."""
        self._netlink = netlink
        self._socket: socket.socket = run_there(namespace, lambda: listen(NETLINK_ROUTE, (RTNLGRP_MDB,)))

    def close(self) -> None:
        """Stop to listen."""
        self._socket.close()

    async def changed(self) -> None:
        """Return once a group has won or lost a member somewhere, and what came with it has come."""
        await trio.lowlevel.wait_readable(self._socket)
        await trio.sleep(MEMBERSHIP_GATHERS_S)
        drain(self._socket)

    def look(self, bridge: int, tunnels: Collection[int]) -> Membership:
        """Return of what there are members on this host: on the bridge, but not behind its ports to other hosts."""
        found = map(read_groups, self._netlink.dump(messages.dump_groups(), "list multicast groups"))
        ours = [item for item in found if item.bridge == bridge]
        macs = {mac_of(group) for item in ours for port, group in item.members if port not in tunnels}
        told = frozenset(mac for mac in macs if is_pruned(mac))
        has_router = any(port not in tunnels for item in ours for port in item.routers)
        if has_router or len(told) > TOLD_GROUPS:
            return Membership(frozenset(), everything=True)
        return Membership(told, everything=False)
