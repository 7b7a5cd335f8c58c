"""Find out whether this kernel has WireGuard and ESP. Blocking.

It is tried in a network namespace that is made for it and gone afterwards: nothing of this host changes, but that the
kernel may load the modules, which it would at the first use anyway. Whatever is told of a kernel elsewhere (lists of
modules, versions) can be wrong; this cannot.
"""

import errno
import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from ipaddress import ip_address

from weave.errors import EnvironmentFailure
from weave.net import sysctl
from weave.net.crypt import limits
from weave.net.crypt.keys import ESP_KEY_BYTES
from weave.net.namespace import new_namespace, run_there
from weave.net.wireguard.device import create_message
from weave.netlink import constants as nl
from weave.netlink.connection import Netlink, NetlinkFailure
from weave.netlink.generic import get_family
from weave.netlink.wireguard import FAMILY
from weave.netlink.xfrm import Association, add_association

_ABSENT = frozenset({errno.EOPNOTSUPP, errno.EPROTONOSUPPORT, errno.ENOENT, errno.ENOSYS, errno.EAFNOSUPPORT,
                     errno.ENOPROTOOPT})
_TRIAL_SPI = 0x100
_TRIAL_ENDS = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}


@dataclass(frozen=True, slots=True)
class KernelAbility:
    """What this kernel can; an empty text means yes, any other says why not."""

    wireguard: str
    esp4: str
    esp6: str

    @property
    def overhead(self) -> int:
        """Return how many octets it may add to a VXLAN packet over IPv4, by the tunnel that adds most.

        Where it can seal over IPv6 too, the larger headers of that are among them: any two hosts may be linked so.
        """
        longer = limits.VXLAN_OVERHEAD[6] - limits.VXLAN_OVERHEAD[4]
        if not self.wireguard:
            return limits.WIREGUARD_OVERHEAD + longer
        if not self.esp6:
            return limits.ESP_OVERHEAD + longer
        return limits.ESP_OVERHEAD if not self.esp4 else 0


def probe_kernel() -> KernelAbility:
    """Return what this kernel can."""
    try:
        scratch = new_namespace()
    except (EnvironmentFailure, OSError) as exc:
        return KernelAbility(*[f"it cannot be tried on this host: {exc}"] * 3)
    try:
        return run_there(scratch, lambda: KernelAbility(
            _outcome("WireGuard", "wireguard", _try_wireguard),
            _outcome("ESP with AES-GCM", "esp4", lambda: _try_esp(4)),
            _outcome("ESP with AES-GCM over IPv6", "esp6", lambda: _try_esp(6)),
        ))
    finally:
        os.close(scratch)


def _try_wireguard() -> None:
    if not sysctl.has_ipv6():
        raise EnvironmentFailure("IPv6 is switched off on this host, and inside WireGuard our packets are IPv6; "
                                 "boot without ipv6.disable=1")
    with closing(Netlink()) as netlink, closing(Netlink(nl.NETLINK_GENERIC)) as generic:
        netlink.run([create_message("wg0")], "make a WireGuard device")
        generic.query(get_family(FAMILY), "find WireGuard")


def _try_esp(version: int) -> None:
    source, destination = map(ip_address, _TRIAL_ENDS[version])
    with closing(Netlink(nl.NETLINK_XFRM)) as netlink:
        netlink.run([add_association(Association(source, destination, _TRIAL_SPI, os.urandom(ESP_KEY_BYTES)))],
                    "add an ESP association")


def _outcome(what: str, module: str, attempt: Callable[[], None]) -> str:
    try:
        attempt()
    except NetlinkFailure as exc:
        if exc.code in _ABSENT:
            return (f"the kernel {os.uname().release} of this host has no {what}: it is not built in, and the module "
                    f"{module} cannot be loaded")
        return str(exc)
    except EnvironmentFailure as exc:
        return str(exc)
    return ""
