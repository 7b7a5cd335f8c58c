"""A request as the executable passes it on, and as we understand it.

    plugin executable -> router:  NAME=value \0 NAME=value \0 ... \0 \0 standard input
    router -> plugin executable:  exit status, a line feed, standard output

Nothing is escaped on the way: a zero octet can be in no variable, and what follows the empty one is as it came. Only
variables of CNI are passed on.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from weave.cni.errors import CniError, Code
from weave.cni.netconf import NetConf, read_netconf, read_version
from weave.cni.versions import is_known, require
from weave.errors import LocalError

MAX_VARIABLES = 32
PREFIX = "CNI_"
_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
_INTERFACE = re.compile(r"[^\s/:]{1,15}")
MAX_CONTAINER_CHARACTERS = 200
"""What the kernel keeps beside an interface."""


class Verb(Enum):
    """What a runtime asks for."""

    ADD = "ADD"
    DEL = "DEL"
    CHECK = "CHECK"
    GC = "GC"
    STATUS = "STATUS"
    VERSION = "VERSION"


_NEEDS: Mapping[Verb, tuple[str, ...]] = {
    Verb.ADD: ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"),
    Verb.CHECK: ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"),
    Verb.DEL: ("CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"),
    Verb.GC: ("CNI_PATH",),
    Verb.STATUS: ("CNI_PATH",),
    Verb.VERSION: (),
}


@dataclass(frozen=True, slots=True)
class Request:
    """What an executable was called with."""

    environment: Mapping[str, str]
    stdin: bytes


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was read and checked."""

    verb: Verb
    container: str
    netns: str
    """Path of the network namespace; empty where it is gone, or does not matter."""
    interface: str
    args: Mapping[str, str]
    """What `CNI_ARGS` says."""
    path: tuple[str, ...]
    """Directories with plugins."""
    conf: NetConf
    request: Request


def decode_request(body: bytes) -> Request:
    """Return the request that an executable sent; raise `LocalError` for what is none."""
    environment: dict[str, str] = {}
    offset = 0
    while True:
        end = body.find(b"\0", offset)
        if end < 0:
            raise LocalError("a CNI request should be variables, each ended by a zero octet, then an empty one")
        item, offset = body[offset:end], end + 1
        if not item:
            return Request(environment, body[offset:])
        name, equals, value = item.decode("utf-8", "replace").partition("=")
        if not equals or not name.startswith(PREFIX) or name in environment or len(environment) == MAX_VARIABLES:
            raise LocalError(f"a CNI request carries up to {MAX_VARIABLES} variables of CNI, each once")
        environment[name] = value


def encode_request(request: Request) -> bytes:
    """Return the octets that `decode_request` reads as this request."""
    variables = (f"{name}={value}\0".encode() for name, value in sorted(request.environment.items()))
    return b"".join(variables) + b"\0" + request.stdin


def encode_reply(status: int, stdout: str) -> str:
    """Return what the executable is told: how to end, and what to print."""
    return f"{status}\n{stdout}"


def read_call(request: Request) -> Call:
    """Return the request, read and checked; raise `CniError` where it makes no sense."""
    verb = _read_verb(request.environment)
    if verb is Verb.VERSION:
        return _call(verb, request, NetConf(read_version(request.stdin), ""))
    _check_environment(verb, request.environment)
    version = read_version(request.stdin)
    if verb is Verb.DEL:
        return _call(verb, request, _conf_of_the_gone(request.stdin, version))
    conf = read_netconf_of(request.stdin, version, verb)
    return _call(verb, request, conf)


def read_netconf_of(stdin: bytes, version: str, verb: Verb) -> NetConf:
    """Return a configuration for a verb; its version comes first, for the rest may have another meaning in it."""
    if is_known(version):
        conf = read_netconf(stdin)
        require(version, verb.value)
        return conf
    require(version, verb.value)
    raise AssertionError("a version that is not known is refused")


def _conf_of_the_gone(stdin: bytes, version: str) -> NetConf:
    """Return what can be understood of a configuration: whatever it says, DEL takes away what is there."""
    try:
        return read_netconf(stdin)
    except CniError:
        return NetConf(version, "")


def _call(verb: Verb, request: Request, conf: NetConf) -> Call:
    get = request.environment.get
    path = tuple(item for item in get("CNI_PATH", "").split(":") if item)
    return Call(verb, get("CNI_CONTAINERID", ""), get("CNI_NETNS", ""), get("CNI_IFNAME", ""),
                parse_args(get("CNI_ARGS", "")), path, conf, request)


def _read_verb(environment: Mapping[str, str]) -> Verb:
    word = environment.get("CNI_COMMAND", "")
    if not word:
        raise CniError(Code.INVALID_ENVIRONMENT, "the environment lacks CNI_COMMAND",
                       "this program is called by container runtimes, see the CNI specification")
    try:
        return Verb(word)
    except ValueError:
        raise CniError(Code.INVALID_ENVIRONMENT, f"CNI_COMMAND {word[:32]!r} is not known here") from None


def _check_environment(verb: Verb, environment: Mapping[str, str]) -> None:
    """Report everything that is missing in one go; then what is malformed."""
    missing = [name for name in _NEEDS[verb] if not environment.get(name)]
    if missing:
        raise CniError(Code.INVALID_ENVIRONMENT, f"the environment lacks {', '.join(missing)}")
    container, interface = environment.get("CNI_CONTAINERID", ""), environment.get("CNI_IFNAME", "")
    if "CNI_CONTAINERID" in _NEEDS[verb] and not (
            _CONTAINER.fullmatch(container) and len(container) <= MAX_CONTAINER_CHARACTERS):
        raise CniError(Code.INVALID_ENVIRONMENT, f"CNI_CONTAINERID {container[:80]!r} should be up to "
                       f"{MAX_CONTAINER_CHARACTERS} letters, digits, '_', '.' and '-', a letter or digit first")
    if "CNI_IFNAME" in _NEEDS[verb] and not is_interface_name(interface):
        raise CniError(Code.INVALID_ENVIRONMENT, f"CNI_IFNAME {interface[:32]!r} should be up to 15 characters "
                       "without blank, '/' and ':'")


def is_interface_name(name: str) -> bool:
    """Say whether the kernel takes this as the name of an interface."""
    return bool(_INTERFACE.fullmatch(name)) and name.isascii() and name.isprintable() and name not in (".", "..")


def parse_args(text: str) -> dict[str, str]:
    """Return the words of `CNI_ARGS`, `KEY=value;KEY=value`; what is no such pair is skipped."""
    pairs = (item.partition("=") for item in text.split(";"))
    return {key: value for key, equals, value in pairs if equals}
