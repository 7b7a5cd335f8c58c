"""What an operator may tell a router: the options of `weave router` and `weave launch`, checked and typed.

Parsing is the only thing done here. Everything that can be found wrong without touching the machine is found wrong
here, in one line, before anything starts.
"""

import argparse
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NoReturn, TypeVar

from weave import __version__
from weave.addresses import IPAddress, IPNetwork, parse_address, parse_network
from weave.errors import LocalError
from weave.ipam.modes import Consensus, InitMode, Observer, Seed
from weave.mesh.limits import MAX_ADDRESSES, MAX_OWNERS
from weave.names import PeerName, parse_peer_name
from weave.net.crypt.limits import PROBE_PORT_OFFSET
from weave.net.limits import MAX_MTU, MIN_MTU
from weave.net.model import DatapathConfig
from weave.net.naming import HOST_PREFIX, check_interface

DEFAULT_CONTROL_PORT = 6783
DEFAULT_VXLAN_PORT = 6784
DEFAULT_METRICS_ADDRESS = "127.0.0.1:6782"
DEFAULT_RANGE = "10.32.0.0/12"
DEFAULT_STATE_DIR = "/var/lib/weave"
DEFAULT_SOCKET = "/run/weave/weave.sock"
DEFAULT_CONNECTION_LIMIT = 30
"""Neighbours of a peer in a mesh of any size; 2 * log2(1,000 peers) is 20, the rest is head-room for targets."""
MIN_RANGE_ADDRESSES = 4
MAX_NICKNAME = 64
MAX_PORT = 65535
MAX_TTL_S = (1 << 31) - 1
"""A TTL has 31 bits (RFC 2181, 8)."""
NOT_FOR_CONTAINERS = tuple((parse_network(text), words) for text, words in (
    ("0.0.0.0/8", "this host itself"), ("127.0.0.0/8", "loopback"), ("224.0.0.0/4", "multicast"),
    ("255.255.255.255", "broadcast"), ("::/127", "this host itself"), ("::ffff:0:0/96", "IPv4 in IPv6"),
    ("fe80::/10", "the link alone"), ("ff00::/8", "multicast"),
))
"""Networks of which a kernel sends nothing to another host, or not to one; and what they are for."""
T = TypeVar("T")
LOG_LEVELS = ("debug", "info", "warning", "error")
NOBODY = PeerName("02:00:00:00:00:00")
"""Only the names of devices are asked for, and they are everybody's."""
_TWO_PASSWORDS = "give --password or --password-file, not both"


@dataclass(frozen=True, slots=True)
class Settings:
    """One router's options."""

    peers: tuple[str, ...]
    nickname: str
    passwords: tuple[str, ...] = field(repr=False)
    """The first is the one we dial with; a peer may come with any of them. Empty: an open mesh."""
    trusted_subnets: tuple[IPNetwork, ...]
    listen: IPAddress | None
    port: int
    vxlan_port: int
    advertise: tuple[IPAddress, ...]
    discovery: bool
    connection_limit: int
    first_division: InitMode
    ranges: tuple[IPNetwork, ...]
    """One, or an IPv4 and an IPv6 one in this order. Empty: this router manages no addresses."""
    range_is_chosen: bool
    """The operator named them, so that it may overlap routes of the host; the default may not."""
    default_subnets: tuple[IPNetwork, ...]
    """Of each range one, in the same order; the range itself where none was named."""
    dns: bool
    dns_domain: str
    dns_ttl: int
    resolv_conf: Path
    bridge: str
    mtu: int | None
    multicast_route: bool
    guard_sources: bool
    route_subnets: bool
    keep_sources: bool
    """Containers here see the addresses of clients outside, though their subnet is masqueraded."""
    sleeve_alone: bool
    """Container traffic is sealed by the sleeve also where VXLAN would do."""
    sleeve_apart: bool
    """Somebody else runs the sleeve of this host."""
    expects_npc: bool
    """No container is added by CNI while the policy controller's table is missing."""
    state_dir: Path
    socket: Path
    metrics: tuple[str, int] | None
    log_level: str
    log_format: str
    wipe: bool
    """Do not run: remove what an earlier run left on this host."""

    @property
    def database(self) -> Path:
        """Return the path of the state file."""
        return self.state_dir / "weave.db"

    @property
    def sleeve_socket(self) -> Path:
        """Return where the sleeve of this host listens for its router."""
        return self.socket.with_name(f"{self.socket.stem}-sleeve.sock")


class _Parser(argparse.ArgumentParser):
    """A parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        """End with status 2 and a line that says where the options are listed."""
        self.exit(2, f"{self.prog}: {message}; `{self.prog} --help` lists the options\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `weave router`; its help is the reference of the options."""
    parser = _Parser(
        prog="weave router",
        description="Run the router of this host in the foreground. `weave launch` takes the same options and starts "
        "it in the background.",
        epilog="Example: weave router --password-file /etc/weave/password 192.0.2.1 192.0.2.2",
        allow_abbrev=False,
    )
    parser.add_argument("peers", nargs="*", metavar="PEER", help="hosts to join: name or address, optionally :port")
    parser.add_argument("--version", action="version", version=f"weave {__version__}")
    _add_mesh_options(parser.add_argument_group("mesh"))
    _add_address_options(parser.add_argument_group("addresses"))
    _add_dns_options(parser.add_argument_group("names"))
    _add_host_options(parser.add_argument_group("this host"))
    return parser


def _add_mesh_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--password", metavar="SECRET", help="password of the mesh (prefer --password-file or WEAVE_PASSWORD)")
    add("--password-file", metavar="FILE", help="file whose first line is the password")
    add("--accept-password-file", metavar="FILE", action="append", default=[],
        help="also accept peers that come with this password (to change it without an outage); repeatable")
    add("--trusted-subnets", metavar="CIDR,...", default="",
        help="underlay subnets over which container traffic may travel unencrypted though a password is set")
    add("--nickname", metavar="NAME", help="name shown to people (default: the host name)")
    add("--host", metavar="ADDRESS", help="underlay address to listen on (default: all)")
    add("--port", type=int, default=DEFAULT_CONTROL_PORT, help="TCP port of the mesh (default: %(default)s)")
    add("--advertise-address", metavar="ADDRESS", action="append", default=[],
        help="underlay address at which peers should reach us (default: found out); repeatable")
    add("--no-discovery", action="store_true", help="connect to the given peers only")
    add("--conn-limit", type=int, default=DEFAULT_CONNECTION_LIMIT, metavar="N",
        help="most connections that discovery makes (default: %(default)s)")


def _add_address_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--ipalloc-range", metavar="CIDR[,CIDR]",
        help="addresses for containers, the same on all hosts; for both families an IPv4 and an IPv6 range "
        f"(default: {DEFAULT_RANGE}; 'none' allocates none)")
    add("--ipalloc-default-subnet", metavar="CIDR[,CIDR]",
        help="subnet of a range to allocate from by default (default: all of it)")
    add("--ipalloc-init", metavar="MODE", help="consensus[=N] (default), seed=PEERNAME,... or observer")


def _add_dns_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--no-dns", action="store_true", help="answer no names")
    add("--dns-domain", metavar="DOMAIN", default="weave.local.", help="our domain (default: %(default)s)")
    add("--dns-ttl", type=int, default=1, metavar="SECONDS", help="TTL of our answers (default: %(default)s)")
    add("--resolv-conf", metavar="FILE", default="/etc/resolv.conf",
        help="where the resolvers for other names are listed (default: %(default)s)")


def _add_host_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--bridge", metavar="NAME", default="weave", help="bridge of the containers (default: %(default)s)")
    add("--mtu", type=int, metavar="BYTES", help="MTU of the overlay (default: that of the underlay less VXLAN's)")
    add("--vxlan-port", type=int, default=DEFAULT_VXLAN_PORT, help="UDP port of VXLAN (default: %(default)s)")
    add("--route-subnets", action="store_true",
        help="let this host, exposed in several subnets of containers, pass packets between them")
    add("--no-source-guard", action="store_true",
        help="let containers send from any MAC and address, not only from their own")
    add("--no-vxlan", action="store_true",
        help="send container traffic through the encrypted sleeve also where VXLAN would do")
    add("--sleeve-apart", action="store_true",
        help="start no sleeve: `weave-sleeve` runs it on this host, and it does not end with the router's container")
    add("--expect-npc", action="store_true",
        help="add no container by CNI before `weave-npc` has its rules in the kernel")
    add("--no-multicast-route", action="store_true", help="do not send containers' multicast over this network")
    add("--no-masq-local", action="store_true",
        help="let containers of this host see the addresses of clients outside the network")
    add("--state-dir", metavar="DIR", help=f"where the state is kept (WEAVE_STATE_DIR; {DEFAULT_STATE_DIR})")
    add("--socket", metavar="PATH", help=f"where the control API listens (WEAVE_SOCKET; {DEFAULT_SOCKET})")
    add("--metrics-addr", metavar="ADDRESS:PORT", default=DEFAULT_METRICS_ADDRESS,
        help="where status and metrics are served read-only (default: %(default)s; 'off' for nowhere)")
    add("--log-level", metavar="LEVEL", help=f"{', '.join(LOG_LEVELS)} (WEAVE_LOG_LEVEL; info)")
    add("--wipe", action="store_true", help=argparse.SUPPRESS)
    add("--log-format", choices=("text", "json"), default="text", help="one event a line (default: %(default)s)")


def parse_settings(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Return the settings for these arguments and this environment; raise `LocalError` where they make no sense.

    Words that do not parse at all end the process with status 2 and one line.
    """
    given = build_parser().parse_args(argv)
    ranges = _ranges(DEFAULT_RANGE if given.ipalloc_range is None else given.ipalloc_range)
    return Settings(
        peers=tuple(dict.fromkeys(given.peers)),
        nickname=_nickname(given.nickname or socket.gethostname()),
        passwords=_passwords(given, environ),
        trusted_subnets=_at_most(_networks(given.trusted_subnets), "--trusted-subnets"),
        listen=_unicast(given.host, "--host") if given.host else None,
        port=_port(given.port, "--port"),
        vxlan_port=_vxlan_port(given.vxlan_port, given.port),
        advertise=_at_most(map(_advertised, given.advertise_address), "--advertise-address"),
        discovery=not given.no_discovery,
        connection_limit=_at_least(given.conn_limit, 2, "--conn-limit"),
        first_division=_first_division(given.ipalloc_init, len(set(given.peers))),
        ranges=ranges,
        range_is_chosen=given.ipalloc_range is not None,
        default_subnets=_default_subnets(given.ipalloc_default_subnet or "", ranges),
        dns=not given.no_dns,
        dns_domain=given.dns_domain if given.dns_domain.endswith(".") else given.dns_domain + ".",
        dns_ttl=_from_to(given.dns_ttl, 0, MAX_TTL_S, "--dns-ttl"),
        resolv_conf=Path(given.resolv_conf),
        bridge=_bridge(given.bridge, given.vxlan_port),
        mtu=None if given.mtu is None else _from_to(given.mtu, MIN_MTU, MAX_MTU, "--mtu"),
        multicast_route=not given.no_multicast_route,
        guard_sources=not given.no_source_guard,
        route_subnets=given.route_subnets,
        keep_sources=given.no_masq_local,
        sleeve_alone=given.no_vxlan,
        sleeve_apart=given.sleeve_apart,
        expects_npc=given.expect_npc,
        state_dir=Path(given.state_dir or environ.get("WEAVE_STATE_DIR") or DEFAULT_STATE_DIR),
        socket=Path(given.socket or environ.get("WEAVE_SOCKET") or DEFAULT_SOCKET),
        metrics=_metrics_address(given.metrics_addr),
        log_level=_log_level(given.log_level or environ.get("WEAVE_LOG_LEVEL") or "info"),
        log_format=given.log_format,
        wipe=given.wipe,
    )


def _log_level(text: str) -> str:
    if text.lower() not in LOG_LEVELS:
        raise LocalError(f"the log level {text!r} should be one of {', '.join(LOG_LEVELS)}")
    return text.lower()


def _nickname(text: str) -> str:
    if not text.isprintable() or len(text) > MAX_NICKNAME:
        raise LocalError(f"--nickname {text!r} should be up to {MAX_NICKNAME} printable characters")
    return text


def _passwords(given: argparse.Namespace, environ: Mapping[str, str]) -> tuple[str, ...]:
    if given.password is not None and given.password_file is not None:
        raise LocalError(_TWO_PASSWORDS)
    first = _first_password(given, environ)
    others = [_password_from(path) for path in given.accept_password_file]
    if others and first is None:
        raise LocalError("--accept-password-file needs a password of our own: give --password-file too")
    return () if first is None else tuple(dict.fromkeys([first, *others]))


def _first_password(given: argparse.Namespace, environ: Mapping[str, str]) -> str | None:
    if given.password_file is not None:
        return _password_from(given.password_file)
    if given.password is not None:
        return _check_password(given.password, "--password")
    secret = environ.get("WEAVE_PASSWORD")
    return None if secret is None else _check_password(secret, "WEAVE_PASSWORD")


def _check_password(secret: str, where: str) -> str:
    """Return a password; raise `LocalError` for an empty one, which would open the mesh without a word."""
    if not secret.strip():
        raise LocalError(f"the password in {where} is empty; leave {where} out for a mesh open to everybody")
    return secret


def _password_from(path: str) -> str:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise LocalError(f"cannot read the password file {path}: {exc}") from exc
    if not lines or not lines[0].strip():
        raise LocalError(f"the password file {path} is empty; its first line should be the password")
    return lines[0].strip()


def _first_division(text: str | None, targets: int) -> InitMode:
    """Return how the range is first divided; without a count the given peers and we are taken to be all."""
    mode, _, argument = (text or "consensus").partition("=")
    if mode == "observer" and not argument:
        return Observer()
    if mode == "seed" and argument:
        return Seed(tuple(sorted({parse_peer_name(name) for name in argument.split(",")})))
    if mode == "consensus":
        if not argument:
            return Consensus(targets + 1)
        if argument.isdecimal() and 0 < int(argument) <= MAX_OWNERS:
            return Consensus(int(argument))
    raise LocalError(f"--ipalloc-init {text!r} should be consensus, consensus=N (up to {MAX_OWNERS} hosts), "
                     "seed=PEERNAME,... or observer")


def _networks(text: str) -> list[IPNetwork]:
    return [parse_network(item.strip()) for item in text.split(",") if item.strip()]


def _ranges(text: str) -> tuple[IPNetwork, ...]:
    """Return the ranges in the order of their families: at most one of each."""
    ranges = [] if text == "none" else _networks(text)
    if not ranges and text != "none":
        raise LocalError(f"--ipalloc-range {text!r} names no range; write one like {DEFAULT_RANGE}, or 'none'")
    for range_ in ranges:
        if range_.num_addresses < MIN_RANGE_ADDRESSES:
            raise LocalError(f"--ipalloc-range {range_} is too small: it should hold at least {MIN_RANGE_ADDRESSES}")
        for network, purpose in NOT_FOR_CONTAINERS:
            if network.overlaps(range_):  # networks of two families do not
                raise LocalError(f"--ipalloc-range {range_} has addresses that no container can have: {network} is for "
                                 f"{purpose}; choose one like {DEFAULT_RANGE} or fd00:32::/64")
    if len({range_.version for range_ in ranges}) != len(ranges):
        raise LocalError(f"--ipalloc-range {text} has two ranges of one family; give one of IPv4, one of IPv6, or both")
    return tuple(sorted(ranges, key=lambda range_: range_.version))


def _default_subnets(text: str, ranges: Sequence[IPNetwork]) -> tuple[IPNetwork, ...]:
    """Return the default subnet of each range: the one that was named, or all of it."""
    chosen: dict[int, IPNetwork] = {range_.version: range_ for range_ in ranges}
    for subnet in _networks(text):
        range_ = chosen.get(subnet.version)
        if range_ is None or not subnet.subnet_of(range_):  # type: ignore[arg-type]
            raise LocalError(f"--ipalloc-default-subnet {subnet} does not lie in --ipalloc-range "
                             f"{range_ or 'of its family: there is none'}")
        chosen[subnet.version] = subnet
    return tuple(chosen.values())


def _port(number: int, option: str, most: int = MAX_PORT) -> int:
    if not 0 < number <= most:
        raise LocalError(f"{option} {number} should be a port from 1 to {most}")
    return number


def _vxlan_port(number: int, control: int) -> int:
    """Return the port of VXLAN, after which those of WireGuard and of probes have room; the sleeve has `--port`."""
    last = _port(number, "--vxlan-port", MAX_PORT - PROBE_PORT_OFFSET) + PROBE_PORT_OFFSET
    if number <= control <= last:
        raise LocalError(f"--port {control} is one of the UDP ports {number} to {last} that --vxlan-port {number} "
                         "takes; choose another for one of the two")
    return number


def _bridge(name: str, vxlan_port: int) -> str:
    """Return the name of the bridge, which the kernel takes and no other device of ours has."""
    try:
        check_interface(name)
    except LocalError as exc:
        raise LocalError(f"--bridge {exc}".replace("try eth0 or ethwe", "try weave")) from exc
    others = set(DatapathConfig(NOBODY, bridge="", port=vxlan_port).devices)
    if name in others or name.startswith(HOST_PREFIX):
        raise LocalError(f"--bridge {name!r} is the name of another device of ours; choose another")
    return name


def _unicast(text: str, option: str) -> IPAddress:
    address = parse_address(text)
    if address.is_multicast:
        raise LocalError(f"{option} {address} is a multicast address; give one that a host has")
    return address


def _advertised(text: str) -> IPAddress:
    address = _unicast(text, "--advertise-address")
    if address.is_unspecified:
        raise LocalError(f"--advertise-address {address} leads nowhere; give one at which others reach this host")
    return address


def _at_most(values: Iterable[T], option: str) -> tuple[T, ...]:
    """Return the values, each once; refuse more of them than other peers take in of one."""
    unique = tuple(dict.fromkeys(values))
    if len(unique) > MAX_ADDRESSES:
        raise LocalError(f"{option} has {len(unique)} values; a peer can tell the others of {MAX_ADDRESSES}")
    return unique


def _at_least(number: int, low: int, option: str) -> int:
    if number < low:
        raise LocalError(f"{option} {number} should be at least {low}")
    return number


def _from_to(number: int, low: int, high: int, option: str) -> int:
    if not low <= number <= high:
        raise LocalError(f"{option} {number} should be from {low} to {high}")
    return number


def _metrics_address(text: str) -> tuple[str, int] | None:
    if text in ("", "off"):
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal():
        raise LocalError(f"--metrics-addr {text!r} should look like {DEFAULT_METRICS_ADDRESS}, or be off")
    return str(parse_address(host.strip("[]"))), _port(int(port), "--metrics-addr")


def hide_password(argv: Sequence[str]) -> tuple[list[str], str | None]:
    """Split `--password` off the arguments, so that it can travel where the process list does not show it.

    Raise `LocalError` where it is empty, or where a file is to give it too: afterwards nobody could tell. Where its
    word is missing it stays, for the parser to complain.
    """
    kept: list[str] = []
    secret: str | None = None
    words = iter(argv)
    for word in words:
        if word.startswith("--password="):
            secret = word.partition("=")[2]
        elif word != "--password":
            kept.append(word)
        else:
            following = list(islice(words, 1))
            if not following or _is_option(following[0]):
                kept += [word, *following]
            else:
                secret = following[0]
    if secret is not None:
        _check_password(secret, "--password")
        if any(word.partition("=")[0] == "--password-file" for word in kept):
            raise LocalError(_TWO_PASSWORDS)
    return kept, secret


def _is_option(word: str) -> bool:
    """Say whether argparse takes a word for an option rather than for the value of the one before."""
    return len(word) > 1 and word.startswith("-")


def default_socket() -> Path:
    """Return where the control API of this host's router listens when nothing else is said."""
    return Path(os.environ.get("WEAVE_SOCKET") or DEFAULT_SOCKET)
