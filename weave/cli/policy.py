"""`weave policy`: explain network policy, tabulate it, try changes out before they are made.

What is asked about is what the running `weave-npc` of this host holds, or manifests in a directory (`--policy-dir`).
Nothing here changes anything.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

import click

from weave.cli.common import print_json, printing
from weave.cli.npc import ask, npc_option, require_running, running
from weave.errors import LocalError

if TYPE_CHECKING:
    from weave.npc.evaluator import Connection
    from weave.npc.model import Cluster

SUFFIXES = (".yaml", ".yml", ".json")
NOTHING = "none"
SHOWN_DIGITS = 4
"""Of seconds, behind the point."""


@click.group(epilog="Example: weave policy trace shop/web shop/db tcp/5432")
@npc_option
@click.pass_context
def policy(ctx: click.Context, npc_socket: str) -> None:
    """Explain and try out network policy."""
    ctx.meta["npc_socket"] = npc_socket


def asking(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--policy-dir`; it is called with the cluster that it is about."""

    @click.option("--policy-dir", type=click.Path(path_type=Path), metavar="DIR",
                  help="Ask about the manifests in DIR instead of what weave-npc holds.")
    @wraps(function)
    def command(*args: object, policy_dir: Path | None, **options: object) -> None:
        if policy_dir is None:
            require_running(_socket(), "name a directory of manifests with --policy-dir")
        function(*args, cluster=running(_socket()) if policy_dir is None else _in_directory(policy_dir),
                 kernel=policy_dir is None, **options)

    return command


@policy.command(epilog="Example: weave policy trace shop/web 10.32.0.7 udp/53")
@click.argument("source", metavar="FROM")
@click.argument("destination", metavar="TO")
@click.argument("port", metavar="[PROTOCOL/PORT]", default="tcp/80")
@printing
@asking
def trace(source: str, destination: str, port: str, cluster: "Cluster", kernel: bool, as_json: bool) -> None:
    """Tell which policies and rules decide whether FROM may talk to TO: pods (NAMESPACE/POD) or addresses.

    Ends with 0 whatever they decide, for that is the answer; programs read `allowed` in JSON.
    """
    from weave.npc import explain
    from weave.npc.evaluator import Connection, Policies

    policies = Policies(cluster)
    connection = Connection(*explain.find_ends(policies, source, destination), *explain.parse_port(port))
    loaded = _loaded(connection) if kernel else None
    if as_json:
        print_json({**explain.trace_json(policies, connection), "kernel": loaded})
        return
    click.echo(explain.trace_text(policies, connection))
    for line in _kernel_words(loaded):
        click.echo(line)


@policy.command(epilog="Example: weave policy table tcp/80")
@click.argument("port", metavar="[PROTOCOL/PORT]", required=False)
@printing
@asking
def table(port: str | None, cluster: "Cluster", kernel: bool, as_json: bool) -> None:  # noqa: ARG001 - asking gives it
    """Tell who may reach whom; of one port, as a grid."""
    from weave.npc import explain_matrix
    from weave.npc.explain import parse_port

    wanted = None if port is None else parse_port(port)
    tables = [(family, explain_matrix.table(cluster, family)) for family in explain_matrix.families_of(cluster)]
    if as_json:
        print_json([explain_matrix.table_json(reaches, family) for family, reaches in tables])
        return
    for family, reaches in tables:
        if len(tables) > 1:
            click.echo(f"IPv{family}")
        click.echo(explain_matrix.table_text(reaches) if wanted is None else explain_matrix.grid_text(reaches, *wanted))


@policy.command(epilog="Example: weave policy diff new-policy.yaml")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@click.option("--replace", is_flag=True, help="FILEs hold all policies: those that are not in them would be deleted.")
@printing
@asking
def diff(files: Sequence[Path], replace: bool, cluster: "Cluster", kernel: bool,  # noqa: ARG001 - asking gives it
         as_json: bool) -> None:
    """Tell which connections would open and which would close if the policies in FILEs were applied."""
    from weave.npc import explain_matrix
    from weave.npc.model import Cluster

    told = _read(files)
    _warn(told)
    after = told if replace else Cluster(
        policies={**cluster.policies, **told.policies},
        cluster_policies={**cluster.cluster_policies, **told.cluster_policies})
    changes = [(family, explain_matrix.diff(cluster, after, family)) for family in explain_matrix.families_of(cluster)]
    if as_json:
        print_json([explain_matrix.diff_json(found, family) for family, found in changes])
        return
    for family, found in changes:
        if len(changes) > 1:
            click.echo(f"IPv{family}")
        click.echo(explain_matrix.diff_text(found))


@policy.command(epilog="Example: weave policy status")
@printing
def status(as_json: bool) -> None:
    """Tell how the policy controller is doing, and what it did not understand."""
    told = ask(_socket(), "status")
    if as_json:
        print_json(told)
        return
    for key, value in {**told, "trouble": _troubles(told)}.items():
        if key != "problems" and value != "":
            click.echo(f"{key:>18}: {_short(value)}")
    problems = told.get("problems")
    for problem in problems if isinstance(problems, list) else []:
        click.echo(f"! {problem['object']}: {problem['problem']}")


def _troubles(told: Mapping[str, object]) -> str:
    """Return whatever is not well: a controller that is ready may hold what was said before its source broke."""
    source, router = told.get("source"), told.get("router")
    found = [str(told["trouble"])] if told.get("trouble") else []
    if isinstance(source, dict) and not source.get("well") and str(source.get("state")) not in "".join(found):
        found.append(f"source: {source.get('state')}")
    if isinstance(router, dict) and router.get("trouble"):
        found.append(f"router: {router['trouble']}")
    return "; ".join(found) or NOTHING


def _short(value: object) -> str:
    match value:
        case dict():
            return " ".join(f"{key}={_short(inner)}" for key, inner in value.items())
        case list():
            return " ".join(map(str, value)) or NOTHING
        case float():
            return f"{round(value, SHOWN_DIGITS):g}"
        case _:
            return str(value) or NOTHING


# Where it comes from

def _socket() -> str:
    """Return where the controller listens, as the group was told."""
    path: str = click.get_current_context().meta["npc_socket"]
    return path


def _in_directory(directory: Path) -> "Cluster":
    """Return the cluster of a directory; where it tells no pods, those are the router's endpoints."""
    if not directory.is_dir():
        raise LocalError(f"{directory} is no directory; name one with manifests in files *.yaml, *.yml, *.json")
    cluster = _read(sorted(path for path in directory.rglob("*") if path.suffix in SUFFIXES))
    _warn(cluster)
    return cluster if any(pod.addresses for pod in cluster.pods.values()) else _with_endpoints(cluster)


def _with_endpoints(cluster: "Cluster") -> "Cluster":
    from weave.api.client import Refused, Unreachable
    from weave.cli.common import client
    from weave.npc.endpoint import read_endpoints
    from weave.npc.placement import Mode, Placement

    try:
        _, endpoints = read_endpoints(client().value("GET", "endpoints"))
    except (Refused, Unreachable) as exc:
        raise LocalError(f"the manifests tell of no pods with addresses, and the router does not tell its endpoints: "
                         f"{exc}") from exc
    return Placement(Mode.CONTAINERS).place(cluster, endpoints).cluster


def _read(paths: Sequence[Path]) -> "Cluster":
    from weave.npc.documents import read_objects
    from weave.npc.manifest import gather, parse
    from weave.npc.manifest_fields import ManifestError

    found = []
    for path in paths:
        try:
            objects = read_objects(path.read_bytes(), is_json=path.suffix == ".json")
            found += [parse(value) for value in objects.values()]
        except OSError as exc:
            raise LocalError(f"cannot read {path}: {exc.strerror}") from exc
        except ManifestError as exc:
            raise LocalError(f"{path} cannot be understood: {exc}") from exc
    return gather(found)


def _warn(cluster: "Cluster") -> None:
    """Tell on standard error what was not understood, and what becomes of it."""
    problems = [(str(key), policy.problems) for key, policy in cluster.policies.items()]
    problems += [(name, policy.problems) for name, policy in cluster.cluster_policies.items()]
    for name, sentences in problems:
        for sentence in sentences:
            click.echo(f"! {name}: {sentence}", err=True)


# What the kernel has

def _loaded(connection: "Connection") -> dict[str, object] | None:
    """Return what the rules in this host's kernel do with a connection; None where an end has no address."""
    source, destination = connection.source.address, connection.destination.address
    if source is None or destination is None:
        return None
    port = {} if connection.protocol is None else {"proto": connection.protocol.value, "port": str(connection.port)}
    return ask(_socket(), "kernel", src=str(source), dst=str(destination), **port)


def _kernel_words(loaded: dict[str, object] | None) -> list[str]:
    if loaded is None:
        return []
    lines = ["", "the kernel of this host:" if loaded.get("intact") else "the kernel of this host, whose rules are "
             "being repaired:"]
    for direction in ("egress", "ingress"):
        told = loaded.get(direction)
        if not isinstance(told, dict) or not told.get("here"):
            lines.append(f"  {direction}: not decided here, the pod is on another host or is none")
            continue
        why = f", {told['rule']}" if told.get("rule") else ""
        lines.append(f"  {direction}: {'allowed' if told.get('allowed') else 'denied'}{why}")
    return lines
