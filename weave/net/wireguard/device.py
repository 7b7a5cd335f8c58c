"""Keep the device `weave-wg` as wanted. Blocking, cold.

The device has the inner address of this peer, and by it the route to those of all others. What no peer has as its
address is refused by WireGuard itself, in both directions. Keys stand in the kernel and in this process, nowhere else.
"""

import errno
import time
from ipaddress import IPv6Interface

from weave.addresses import IPAddress
from weave.errors import EnvironmentFailure
from weave.net import devices, host
from weave.net.crypt.keys import INNER_NETWORK, inner_address
from weave.net.model import WIREGUARD_DEVICE as NAME
from weave.net.model import DatapathConfig
from weave.net.namespace import run_there
from weave.net.wireguard.plan import DeviceChange, DeviceWish, plan_device
from weave.netlink import codec, messages
from weave.netlink import constants as nl
from weave.netlink.codec import Message
from weave.netlink.connection import Netlink, NetlinkFailure
from weave.netlink.generic import get_family, read_family
from weave.netlink.readings import Link
from weave.netlink.wireguard import (
    FAMILY,
    KIND,
    Device,
    get_device,
    merge_devices,
    read_device,
    remove_peers,
    set_device,
    set_peers,
)


def create_message(name: str) -> Message:
    """Create a WireGuard device, down: it has no MAC."""
    body = messages.LINK.pack(nl.AF_UNSPEC, 0, 0, 0, 0) + codec.text(nl.IFLA_IFNAME, name)
    info = codec.nested(nl.IFLA_LINKINFO, codec.attribute(nl.IFLA_INFO_KIND, KIND.encode()))
    return Message(nl.RTM_NEWLINK, nl.NLM_F_CREATE | nl.NLM_F_EXCL, body + info)


class WireGuard:
    """Own the WireGuard device of one network namespace."""

    def __init__(self, config: DatapathConfig, mtu: int, netlink: Netlink, namespace: int | None) -> None:
        self._address = IPv6Interface((inner_address(config.peer), INNER_NETWORK.prefixlen))
        self._mtu = mtu
        self._netlink = netlink
        self._generic = run_there(namespace, lambda: Netlink(nl.NETLINK_GENERIC))
        self._family = 0

    @property
    def exists(self) -> bool:
        """Say whether there is a device under this name."""
        return devices.find(self._netlink, NAME) is not None

    def close(self) -> None:
        """Close the socket; the device stays and carries on."""
        self._generic.close()

    def settle(self, wanted: DeviceWish) -> DeviceChange:
        """Make the device as wanted; return what had to be changed."""
        self._settle_link()
        actual = self.look()
        if actual is None:
            raise EnvironmentFailure(f"the device {NAME} vanished; it is made again")
        change = plan_device(wanted, actual, time.time())
        subject = f"configure {NAME}"
        if change.gone:
            self._generic.run(remove_peers(self._number(), NAME, change.gone), subject)
        if change.identity is not None:
            self._generic.run([set_device(self._number(), NAME, *change.identity)], subject)
        if change.peers:
            self._generic.run(set_peers(self._number(), NAME, change.peers), subject)
        return change

    def look(self) -> Device | None:
        """Return the device as it is; None where there is none."""
        try:
            bodies = self._generic.dump(get_device(self._number(), NAME), f"look at {NAME}")
        except NetlinkFailure as exc:
            if exc.code in (errno.ENODEV, errno.ENOENT):
                return None
            raise
        return merge_devices(map(read_device, bodies))

    def wipe(self) -> None:
        """Remove the device, and with it all keys and sessions."""
        link = devices.find(self._netlink, NAME)
        if link is not None and link.kind == KIND:
            self._netlink.run([messages.delete_link(link.index)], f"remove {NAME}")

    def addresses(self, index: int) -> list[IPAddress]:
        """Return the addresses of the device."""
        return [interface.ip for interface in host.interface_addresses(self._netlink, index)]

    def _settle_link(self) -> None:
        link = devices.find(self._netlink, NAME)
        if link is None:
            self._netlink.run([create_message(NAME)], f"make {NAME}")
            link = devices.find(self._netlink, NAME)
        if link is None or link.kind != KIND:
            raise EnvironmentFailure(f"cannot make {NAME}: a device of that name and another kind exists; remove it "
                                     f"(ip link delete {NAME})")
        steps = self._steps(link)
        if steps:
            self._netlink.run(steps, f"set up {NAME}")

    def _steps(self, link: Link) -> list[Message]:
        steps = []
        if link.address_mode not in (None, nl.IN6_ADDR_GEN_MODE_NONE):
            steps.append(messages.set_no_link_local(link.index))
        if link.mtu != self._mtu:
            steps.append(messages.set_mtu(link.index, self._mtu))
        if not link.is_up:
            steps.append(messages.set_up(link.index))
        if self._address.ip not in self.addresses(link.index):
            steps.append(messages.add_address(link.index, self._address))
        return steps

    def _number(self) -> int:
        if not self._family:
            self._family = read_family(self._generic.query(get_family(FAMILY), "find WireGuard in this kernel"))
        return self._family
