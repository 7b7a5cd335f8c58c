"""Names and MACs that follow from what they belong to, so that they are the same after a restart. Pure."""

import re
from hashlib import blake2s

from weave.errors import LocalError
from weave.names import PeerName
from weave.net.limits import MAX_CONTAINER_CHARACTERS, MAX_INTERFACE_CHARACTERS

HOST_PREFIX = "vethwe"
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_LOCAL, _MULTICAST = 0x02, 0x01


def host_interface(container: str, interface: str) -> str:
    """Return the name of the host's end of a container's cable: 14 characters, the same for the same pair."""
    return HOST_PREFIX + _digest(container, interface)[:4].hex()


def host_mac(host_interface: str, peer: PeerName) -> str:
    """Return the MAC of the host's end of a cable; nothing is ever sent to it."""
    return _local_mac(_digest("near end", host_interface, peer))


def alias(container: str, interface: str) -> str:
    """Return what `ip link` shows beside the host's end: to whom it belongs."""
    return f"{container} {interface}"


def owner_of(name: str, words: str) -> tuple[str, str] | None:
    """Return the container and interface behind a host's end; None where the name and alias are not of our making."""
    container, _, interface = words.rpartition(" ")
    if not container or host_interface(container, interface) != name:
        return None
    return container, interface


def container_mac(container: str, interface: str, peer: PeerName) -> str:
    """Return the MAC a container's interface gets on this host."""
    return _local_mac(_digest("container", container, interface, peer))


def tunnel_mac(device: str, peer: PeerName) -> str:
    """Return the MAC of a VXLAN device; nothing is ever sent to it."""
    return _local_mac(_digest("tunnel", device, peer))


def bridge_mac(peer: PeerName) -> str:
    """Return the MAC of the bridge: the name of the peer, which looks like one."""
    return _local_mac(bytes.fromhex(peer.replace(":", "")))


def check_container(container: str) -> None:
    """Raise `LocalError` for a container id that cannot stand in an alias."""
    if not 0 < len(container.encode()) <= MAX_CONTAINER_CHARACTERS or not container.isprintable() or " " in container:
        raise LocalError(f"{container!r} is no container id: use 1 to {MAX_CONTAINER_CHARACTERS} characters, no blank")


def check_interface(interface: str) -> None:
    """Raise `LocalError` for what the kernel does not take as the name of an interface."""
    usable = (0 < len(interface.encode()) <= MAX_INTERFACE_CHARACTERS and interface.isprintable()
              and not set(interface) & set(" /:%") and interface not in (".", "..", "lo", "all", "default"))
    if not usable:
        raise LocalError(f"{interface!r} cannot name an interface: use 1 to {MAX_INTERFACE_CHARACTERS} characters, no "
                         "blank, slash, colon or percent sign; try eth0 or ethwe")


def check_mac(mac: str) -> str:
    """Return a MAC in lower case; raise `LocalError` where it is none that a single interface may have."""
    lowered = mac.strip().lower().replace("-", ":")
    if not _MAC.fullmatch(lowered) or int(lowered[:2], 16) & _MULTICAST or not int(lowered.replace(":", ""), 16):
        raise LocalError(f"{mac!r} is no MAC of an interface; write it like 7a:9f:eb:b6:0c:6e")
    return lowered


def _local_mac(octets: bytes) -> str:
    return bytes([octets[0] & ~_MULTICAST & 0xFF | _LOCAL, *octets[1:6]]).hex(":")


def _digest(*words: str) -> bytes:
    return blake2s("\0".join(words).encode()).digest()
