"""The options of `weave-npc`: read from arguments and environment, checked before anything starts."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from weave.addresses import parse_address
from weave.errors import LocalError

DEFAULT_SOCKET = "/run/weave/weave.sock"
DEFAULT_STATUS_SOCKET = "/run/weave/npc.sock"
DEFAULT_METRICS_ADDRESS = "127.0.0.1:6781"
LOG_LEVELS = ("debug", "info", "warning", "error")
MAX_PORT = 65535
MAX_INTERFACE_CHARACTERS = 15


@dataclass(frozen=True, slots=True)
class Settings:
    """One controller's options."""

    policy_dir: Path | None
    """None: policy comes from Kubernetes."""
    kubeconfig: Path | None
    """None: the pod's own service account."""
    node_name: str | None
    socket: Path
    status_socket: Path
    metrics: tuple[str, int] | None
    multicast: bool
    bridge: str
    log_level: str
    log_format: str
    wipe: bool
    """Do not run: remove the rules, which opens everything."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="weave-npc", allow_abbrev=False,
        description="Enforce network policy on this host. Policy comes from Kubernetes, or from a directory of "
                    "manifests (--policy-dir), where every container is a pod with the labels it was attached with.")
    add = parser.add_argument
    add("--policy-dir", metavar="DIR", help="read policies from the YAML and JSON files in and below this directory")
    add("--kubeconfig", metavar="FILE", help="reach the API server as this file says, not as the pod's account does")
    add("--node-name", metavar="NAME", help="name of this node in Kubernetes (default: NODE_NAME)")
    add("--socket", metavar="PATH", help=f"where the router answers (default: WEAVE_SOCKET or {DEFAULT_SOCKET})")
    add("--status-socket", metavar="PATH", default=DEFAULT_STATUS_SOCKET,
        help="where this controller answers, for `weave policy` (default: %(default)s)")
    add("--metrics-addr", metavar="ADDRESS:PORT", default=DEFAULT_METRICS_ADDRESS,
        help="where metrics are served read-only (default: %(default)s; 'off' for nowhere)")
    add("--allow-multicast", action=argparse.BooleanOptionalAction, default=True,
        help="let containers send and receive multicast, which no policy can select (default: yes)")
    add("--bridge", metavar="NAME", default="weave", help="the router's bridge (default: %(default)s)")
    add("--log-level", metavar="LEVEL", help=f"one of {', '.join(LOG_LEVELS)} (default: WEAVE_LOG_LEVEL or info)")
    add("--log-format", choices=("text", "json"), default="text", help="key=value lines, or JSON")
    add("--wipe", action="store_true", help="remove all rules of an earlier run, and end: everything is open then")
    return parser


def parse_options(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Return the settings for these arguments and this environment; raise `LocalError` where they make no sense.

    Words that do not parse at all end the process with status 2 and a usage line, as argparse does.
    """
    given = build_parser().parse_args(argv)
    level = str(given.log_level or environ.get("WEAVE_LOG_LEVEL") or "info").lower()
    if level not in LOG_LEVELS:
        raise LocalError(f"the log level {level!r} should be one of {', '.join(LOG_LEVELS)}")
    if not 0 < len(given.bridge) <= MAX_INTERFACE_CHARACTERS or not given.bridge.isprintable() or " " in given.bridge:
        raise LocalError(f"--bridge {given.bridge!r} cannot name an interface")
    return Settings(
        policy_dir=Path(given.policy_dir) if given.policy_dir else None,
        kubeconfig=Path(given.kubeconfig) if given.kubeconfig else None,
        node_name=given.node_name or environ.get("NODE_NAME") or None,
        socket=Path(given.socket or environ.get("WEAVE_SOCKET") or DEFAULT_SOCKET),
        status_socket=Path(given.status_socket),
        metrics=_metrics_address(given.metrics_addr),
        multicast=given.allow_multicast,
        bridge=given.bridge,
        log_level=level,
        log_format=given.log_format,
        wipe=given.wipe,
    )


def _metrics_address(text: str) -> tuple[str, int] | None:
    if text == "off":
        return None
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > MAX_PORT:
        raise LocalError(f"--metrics-addr {text!r} should look like {DEFAULT_METRICS_ADDRESS}, or be off")
    return str(parse_address(host.strip("[]"))), int(port)
