"""What an operator may tell `weave-kube`, by its arguments and its environment, checked and typed.

In a cluster the environment speaks: names that Weave Net had keep their meaning. What the router is told comes from
here too, as a list of words, so that the manifest needs no shell.
"""

import argparse
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from weave import __version__
from weave.errors import LocalError
from weave.kube.resource import text

DEFAULT_RANGE = "10.32.0.0/12"
DEFAULT_STATE_DIR = "/var/lib/weave"
DEFAULT_SOCKET = "/run/weave/weave.sock"
DEFAULT_NAMESPACE = "kube-system"
DEFAULT_READY_FILE = "/run/weave/agent-ready"
DEFAULT_NPC_SOCKET = "/run/weave/npc.sock"
DEFAULT_ACCEPT_FILE = "/etc/weave/secret/accept"
DEFAULT_CNI_SOURCE = "/opt/weave/cni/weave-net"
LOG_LEVELS = ("debug", "info", "warning", "error")
_OURS = ("--ipalloc-range", "--ipalloc-init", "--state-dir", "--socket", "--nickname", "--password", "--wipe")
"""Options of the router that are said elsewhere, and would undo what is decided here."""
_ON = ("1", "true", "yes")


@dataclass(frozen=True, slots=True)
class Options:
    """One node's options."""

    command: str
    node: str
    namespace: str
    kubeconfig: Path | None
    range: str
    state_dir: Path
    socket: Path
    ready_file: Path
    expects_npc: bool
    npc_socket: Path
    accept_file: Path
    """A password that is accepted beside our own, where there is such a file."""
    cni_source: Path
    cni_bin: Path
    cni_conf: Path
    hairpin: bool
    log_level: str
    log_format: str
    extra: tuple[str, ...] = field(default=())
    """Further options of the router."""

    @property
    def wipe_options(self) -> tuple[str, ...]:
        """Return the options of the router that say what of it is on this host."""
        words = iter(self.extra)
        kept: list[str] = []
        for word in words:
            if word in ("--bridge", "--vxlan-port"):
                kept += [word, next(words, "")]
            elif word.startswith(("--bridge=", "--vxlan-port=")):
                kept.append(word)
        return tuple(kept)

    def router_words(self, seed: Sequence[str], *, accepts_another: bool = False) -> list[str]:
        """Return the words for the router's own command line."""
        return ["--nickname", self.node, "--ipalloc-range", self.range, "--ipalloc-init", f"seed={','.join(seed)}",
                "--state-dir", str(self.state_dir), "--socket", str(self.socket),
                *(["--expect-npc"] if self.expects_npc else []),
                *(["--accept-password-file", str(self.accept_file)] if accepts_another else []), *self.extra]


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `weave-kube`."""
    parser = argparse.ArgumentParser(
        prog="weave-kube", allow_abbrev=False,
        description="Run weave on a node of a Kubernetes cluster.",
        epilog="Example: weave-kube router --mtu 1400   (further words are options of `weave router`)")
    parser.add_argument("--version", action="version", version=f"weave {__version__}")
    parser.add_argument("command", choices=("router", "agent"),
                        help="router: join the cluster's ring, then run the router; agent: keep the node in it")
    add = parser.add_argument
    add("--node-name", metavar="NAME", help="this node (NODE_NAME)")
    add("--namespace", metavar="NAME", help=f"where our objects are (POD_NAMESPACE; {DEFAULT_NAMESPACE})")
    add("--kubeconfig", type=Path, metavar="FILE", help="how to reach the API server from outside (KUBECONFIG)")
    add("--state-dir", metavar="DIR", help=f"where the state is kept (WEAVE_STATE_DIR; {DEFAULT_STATE_DIR})")
    add("--socket", metavar="PATH", help=f"the router's control API (WEAVE_SOCKET; {DEFAULT_SOCKET})")
    add("--ready-file", type=Path, default=Path(DEFAULT_READY_FILE), metavar="PATH",
        help="there while pods can start (default: %(default)s)")
    add("--npc-socket", type=Path, default=Path(DEFAULT_NPC_SOCKET), metavar="PATH",
        help="where the policy controller answers (default: %(default)s)")
    add("--accept-file", type=Path, default=Path(DEFAULT_ACCEPT_FILE), metavar="FILE",
        help="a password that is accepted too, where the file is there and not empty (default: %(default)s)")
    add("--cni-source", type=Path, default=Path(DEFAULT_CNI_SOURCE), metavar="FILE",
        help="the plugin's executable (default: %(default)s)")
    add("--cni-bin", type=Path, default=Path("/opt/cni/bin"), metavar="DIR",
        help="where the plugins belong (default: %(default)s)")
    add("--cni-conf", type=Path, default=Path("/etc/cni/net.d"), metavar="DIR",
        help="where their configuration belongs (default: %(default)s)")
    add("--log-level", metavar="LEVEL", help=f"{', '.join(LOG_LEVELS)} (WEAVE_LOG_LEVEL; info)")
    add("--log-format", choices=("text", "json"), default="text", help="one event a line (default: %(default)s)")
    return parser


def parse_options(argv: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Return the options for these arguments and this environment; raise `LocalError` where they make no sense."""
    given, rest = build_parser().parse_known_args(argv)
    if rest and given.command != "router":
        raise LocalError(f"{rest[0]!r} is not known; see `weave-kube --help`")
    node = given.node_name or environ.get("NODE_NAME", "")
    if not node:
        raise LocalError("which node this is has to be said, by --node-name or NODE_NAME")
    level = (given.log_level or environ.get("WEAVE_LOG_LEVEL") or "info").lower()
    if level not in LOG_LEVELS:
        raise LocalError(f"the log level {level!r} should be one of {', '.join(LOG_LEVELS)}")
    return Options(
        command=given.command, node=node,
        namespace=given.namespace or environ.get("POD_NAMESPACE") or DEFAULT_NAMESPACE,
        kubeconfig=given.kubeconfig,
        range=environ.get("IPALLOC_RANGE") or DEFAULT_RANGE,
        state_dir=Path(given.state_dir or environ.get("WEAVE_STATE_DIR") or DEFAULT_STATE_DIR),
        socket=Path(given.socket or environ.get("WEAVE_SOCKET") or DEFAULT_SOCKET),
        ready_file=given.ready_file,
        expects_npc=is_on(environ, "EXPECT_NPC", default=True), npc_socket=given.npc_socket,
        accept_file=given.accept_file,
        cni_source=given.cni_source, cni_bin=given.cni_bin, cni_conf=given.cni_conf,
        hairpin=is_on(environ, "HAIRPIN_MODE", default=True),
        log_level=level, log_format=given.log_format,
        extra=_router_options(rest, environ) if given.command == "router" else ())


def _router_options(rest: Sequence[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    words = list(rest)
    if is_on(environ, "NO_MASQ_LOCAL", default=True):
        words.append("--no-masq-local")
    if is_on(environ, "SLEEVE_APART", default=False):
        words.append("--sleeve-apart")
    for name, option in (("WEAVE_MTU", "--mtu"), ("CONN_LIMIT", "--conn-limit"),
                         ("TRUSTED_SUBNETS", "--trusted-subnets"), ("WEAVE_METRICS_ADDR", "--metrics-addr")):
        value = text(environ.get(name))
        if value:
            words += [option, value]
    try:
        words += shlex.split(environ.get("EXTRA_ARGS", ""))
    except ValueError as exc:
        raise LocalError(f"EXTRA_ARGS cannot be split into words: {exc}") from exc
    for word in words:
        if word.partition("=")[0] in _OURS:
            raise LocalError(f"{word} cannot be given here: the range is IPALLOC_RANGE, the password WEAVE_PASSWORD, "
                             "and the rest is decided by the node's place in the cluster")
    return tuple(words)


def is_on(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    """Return a switch of the environment: 1, true or yes; anything else is off."""
    value = environ.get(name, "")
    return value.lower() in _ON if value else default
