"""Another underlay for the hosts of a lab: IPv6 instead of IPv4, from the documentation range of RFC 3849."""

from ipaddress import IPv6Address, IPv6Network

from weave.lab import kernel
from weave.lab.lab import Lab
from weave.lab.names import namespace

UNDERLAY6 = IPv6Network("2001:db8:51::/64")
PATIENCE_S = 400.0
"""For a router that has just started, in an emulator, on a busy machine."""


def address6(host: str) -> IPv6Address:
    """Return the IPv6 address of a host on the underlay."""
    return UNDERLAY6[int(host[1:])]


def move_to_ipv6(lab: Lab, host: str) -> None:
    """Take the IPv4 address from a host, whose router is down, and give it one of IPv6."""
    kernel.run("ip", "-n", namespace(lab.name, host), "address", "flush", "dev", "eth0")
    kernel.run("ip", "-n", namespace(lab.name, host), "address", "add", f"{address6(host)}/{UNDERLAY6.prefixlen}",
               "dev", "eth0", "nodad")


def connect6(lab: Lab, host: str, *others: str) -> None:
    """Have the router of a host dial the IPv6 addresses of others."""
    lab.client(host).call("POST", "connect", body={"peer": [f"[{address6(other)}]" for other in others],
                                                   "replace": True}, timeout_s=PATIENCE_S)
