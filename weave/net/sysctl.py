"""Write the kernel settings of the network namespace that the calling thread is in.

`/proc/sys/net` shows to each thread the settings of its own namespace.
"""

import os
from functools import cache
from pathlib import Path

_NET = Path("/proc/sys/net")
_NF_CALL = _NET / "bridge/bridge-nf-call-iptables"


@cache
def has_ipv6() -> bool:
    """Say whether this kernel speaks IPv6 at all."""
    return (_NET / "ipv6").is_dir()


def can_ipv6(interface: str) -> bool:
    """Say whether an interface can have IPv6: the kernel switches it off where the MTU is below 1280."""
    return (_NET / "ipv6/conf" / interface).is_dir()


def speaks_ipv6(interface: str) -> bool:
    """Say whether an interface has IPv6: it can, and nobody forbids it."""
    return can_ipv6(interface) and (_NET / "ipv6/conf" / interface / "disable_ipv6").read_text().strip() == "0"


def prepare_container(interface: str, *, ipv6: bool) -> None:
    """Give a container's interface no addresses but ours, and those without asking around. Raises `OSError`."""
    if can_ipv6(interface):
        _refuse_routers(interface)
        _write(f"ipv6/conf/{interface}/accept_dad", 0)
        if ipv6:
            _write(f"ipv6/conf/{interface}/disable_ipv6", 0)


def prepare(interface: str, *, ipv6: bool) -> bool:
    """Make an interface hold on to its addresses, and to no others; say whether it has IPv6. Raises `OSError`.

    Of several addresses of one subnet the kernel by default drops all when the first is removed. With `ipv6` it is
    switched on where the host's settings have it off.
    """
    _write(f"ipv4/conf/{interface}/promote_secondaries", 1)
    if not can_ipv6(interface):
        return False
    _refuse_routers(interface)
    if ipv6:
        _write(f"ipv6/conf/{interface}/disable_ipv6", 0)
    return speaks_ipv6(interface)


def _refuse_routers(interface: str) -> None:
    """Take no addresses and routes from whoever calls itself a router on the segment."""
    _write(f"ipv6/conf/{interface}/accept_ra", 0)


def enable_forwarding() -> bool:
    """Have the host pass IPv4 packets on; say whether that was new. Raises `OSError`."""
    if (_NET / "ipv4/ip_forward").read_text().strip() == "1":
        return False
    _write("ipv4/ip_forward", 1)
    return True


def bridge_is_filtered() -> bool | None:
    """Say whether frames inside a bridge pass the host's IP firewall; None where the kernel cannot do that."""
    try:
        return _NF_CALL.read_text().strip() != "0"
    except OSError:
        return None


def _write(name: str, value: int) -> None:
    """Set one value; where /proc is read-only, a value that is as wanted already will do."""
    path = f"{_NET}/{name}"
    wanted = str(value).encode()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        if Path(path).read_bytes().strip() == wanted:
            return
        raise
    try:
        os.write(descriptor, wanted)
    finally:
        os.close(descriptor)
