"""Where `weave` asks the running `weave-npc` of this host."""

import os
from typing import TYPE_CHECKING

import click

from weave.api.client import Client
from weave.errors import LocalError, RemoteError

if TYPE_CHECKING:
    from weave.npc.model import Cluster

DEFAULT_NPC_SOCKET = "/run/weave/npc.sock"
npc_option = click.option("--npc-socket", metavar="PATH", envvar="WEAVE_NPC_SOCKET", default=DEFAULT_NPC_SOCKET,
                          help=f"Where weave-npc listens (WEAVE_NPC_SOCKET; {DEFAULT_NPC_SOCKET}).")


def require_running(path: str, otherwise: str) -> None:
    """Raise `LocalError` where no controller listens, with what else can be done than start one."""
    if not os.path.exists(path):
        raise LocalError(f"no weave-npc listens at {path}: start it, or {otherwise}")


def ask(path: str, *words: str, **query: str) -> dict[str, object]:
    """Return what the running controller answers."""
    require_running(path, "say before the command where it listens, with --npc-socket")
    answer = Client(path).value("GET", "policy", *words, query=query)
    if not isinstance(answer, dict):
        raise RemoteError(f"weave-npc at {path} answers something that this command does not understand; are both of "
                          "one version?")
    return answer


def running(path: str) -> "Cluster":
    """Return the cluster that the running controller holds."""
    from weave.npc.manifest import gather, parse

    manifests = ask(path, "state").get("manifests")
    if not isinstance(manifests, list):
        raise RemoteError("weave-npc tells no manifests; are it and this command of one version?")
    return gather([parse(manifest) for manifest in manifests])
