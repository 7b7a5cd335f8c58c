"""How the namespaces, devices and addresses of a lab are called.

    namespace  weavelab-<lab>-net           the underlay: one bridge, a port for each host
               weavelab-<lab>-<host>        a host: eth0 on the underlay, a router in it
               weavelab-<lab>-<host>.<name> a container on that host

The underlay's addresses come from the documentation ranges of RFC 5737, so they can never be somebody's real network.
"""

import re
from ipaddress import IPv4Address, IPv4Network

from weave.errors import LocalError

PREFIX = "weavelab-"
SWITCH = "net"
UNDERLAY = IPv4Network("198.51.100.0/24")
MAX_HOSTS = 200
_NAMESPACE = re.compile(rf"{PREFIX}(.+?)-(?:{SWITCH}|h[0-9]+)(?:\..*)?")
_WORD = re.compile(r"[a-z0-9][a-z0-9-]{0,14}")


def checked(kind: str, word: str) -> str:
    """Return the word where it can be part of a namespace's name; raise `LocalError` with the rule."""
    if not _WORD.fullmatch(word) or word == SWITCH:
        raise LocalError(f"{word!r} cannot name a {kind}: use up to 15 of a-z, 0-9 and '-', not '{SWITCH}'")
    return word


def namespace(lab: str, *parts: str) -> str:
    """Return the name of a namespace: of the underlay, a host, or a container on a host."""
    return f"{PREFIX}{lab}-" + ".".join(parts)


def lab_of(netns: str) -> str | None:
    """Return the lab that a namespace belongs to; None where it is none of ours."""
    found = _NAMESPACE.fullmatch(netns)
    return found[1] if found else None


def host_name(number: int) -> str:
    """Return the name of the host with this number, from 1."""
    return f"h{number}"


def underlay_address(number: int) -> IPv4Address:
    """Return the underlay address of the host with this number, from 1."""
    return UNDERLAY.network_address + number


def underlay_mac(number: int) -> str:
    """Return the underlay MAC of the host with this number: locally administered, told apart at sight."""
    return f"02:1a:b0:00:{number >> 8:02x}:{number & 255:02x}"
