"""Commands that put containers and the host on the network: attach, detach, expose, hide."""

from collections.abc import Sequence

import click

from weave.api.client import Client, Refused
from weave.api.wishes import format_wish, parse_wishes
from weave.cli.common import client, print_addresses, printing
from weave.cli.hosts import rewrite_hosts
from weave.cli.names import qualified
from weave.cli.target import find, identify, is_nameless
from weave.cli.target_files import Target
from weave.errors import LocalError


@click.command(epilog="Example: weave attach net:10.32.2.0/24 --name c1 blue   (made by `ip netns add blue`)")
@click.argument("words", nargs=-1, required=True, metavar="[ADDRESS]... CONTAINER")
@click.option("-h", "--name", "--fqdn", "names", multiple=True, metavar="NAME",
              help="Name to register; the container's own by default. Repeatable.")
@click.option("--without-dns", is_flag=True, help="Register no name.")
@click.option("--interface", metavar="NAME", help="Name of the interface inside (ethwe).")
@click.option("--mac", metavar="ADDRESS", help="MAC address of the interface.")
@click.option("--mtu", type=click.IntRange(576, 65535), metavar="BYTES", help="MTU of the interface.")
@click.option("--default-route", is_flag=True, help="Make this network the container's way to the world.")
@click.option("--no-multicast-route", is_flag=True, help="Do not send its multicast over this network.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE",
              help="What policy and people know it by. Repeatable.")
@click.option("--rewrite-hosts", is_flag=True, help="Write its address into its /etc/hosts (Docker, Podman).")
@click.option("--add-host", "extra_hosts", multiple=True, metavar="NAME:ADDRESS",
              help="With --rewrite-hosts, write this too. Repeatable.")
@printing
def attach(words: Sequence[str], names: Sequence[str], without_dns: bool, interface: str | None, mac: str | None,
           mtu: int | None, default_route: bool, no_multicast_route: bool, labels: Sequence[str],
           rewrite_hosts: bool, extra_hosts: Sequence[str], as_json: bool) -> None:
    """Put a container on the network and print its addresses.

    CONTAINER is a network namespace (a path, or a name as in `ip netns`), a process (pid:4711), or a running container
    of Docker or Podman. ADDRESS is 10.32.0.5/12, net:10.32.2.0/24 (any of the subnet) or net:default.
    """
    router, target = client(), find(words[-1])
    done = router.value("PUT", "attachment", target.ident, body={
        "netns": target.netns,
        "addresses": _wishes(words[:-1]),
        "fqdns": [] if without_dns else [qualified(router, name) for name in names],
        "own_fqdn": None if without_dns else _own_fqdn(router, target),
        "interface": interface,
        "mac": mac,
        "mtu": mtu,
        "default_route": default_route,
        "multicast_route": not no_multicast_route,
        "labels": list(labels),
    })
    if rewrite_hosts or extra_hosts:
        _rewrite(target, done, extra_hosts)
    print_addresses(done, as_json=as_json)
    if is_nameless(target) and not names and not without_dns:
        click.echo(f"weave: {target.ident} cannot be a name, and none is registered; say one with -h NAME", err=True)


def _wishes(words: Sequence[str]) -> list[str]:
    return [format_wish(wish) for wish in parse_wishes(words)]


def _own_fqdn(router: Client, target: Target) -> str | None:
    """Return the name that is the container's own; None where it has none, or the router answers no names."""
    try:
        return None if target.fqdn is None else qualified(router, target.fqdn)
    except Refused as refusal:
        if refusal.reason == "off":
            return None
        raise


def _rewrite(target: Target, done: object, extra_hosts: Sequence[str]) -> None:
    assert isinstance(done, dict)
    if target.hosts_file is None:
        raise LocalError(f"{target.ident} is attached, but has no /etc/hosts of its own that could be rewritten")
    addresses = [str(address).partition("/")[0] for address in done["addresses"]]
    rewrite_hosts(target.hosts_file, addresses, [str(name).rstrip(".") for name in done["fqdns"]], extra_hosts)


@click.command(epilog="Example: weave detach blue")
@click.argument("words", nargs=-1, required=True, metavar="[ADDRESS]... CONTAINER")
@click.option("--interface", metavar="NAME", help="Only this interface; all by default.")
@printing
def detach(words: Sequence[str], interface: str | None, as_json: bool) -> None:
    """Take a container, or some of its addresses, off the network and print what was removed."""
    query: dict[str, str | list[str]] = {"addresses": _wishes(words[:-1])}
    if interface is not None:
        query["interface"] = interface
    removed = client().value("DELETE", "attachment", identify(words[-1]).ident, query=query)
    _print_removed(removed, f"{' '.join(words)} was not attached here; `weave ps` lists what is", as_json=as_json)


def _print_removed(removed: object, nothing: str, *, as_json: bool) -> None:
    """Print what was removed; where that is nothing, tell people: it may be a typing error, or was done before."""
    assert isinstance(removed, dict)
    if removed["addresses"] or as_json:
        print_addresses(removed, as_json=as_json)
        return
    click.echo(f"weave: {nothing}", err=True)


@click.command(epilog="Example: weave expose -h h1.weave.local")
@click.argument("words", nargs=-1, metavar="[ADDRESS]...")
@click.option("-h", "--fqdn", metavar="NAME", help="Name to register for the host.")
@click.option("--without-masquerade", is_flag=True, help="Do not let containers reach the world as this host.")
@printing
def expose(words: Sequence[str], fqdn: str | None, without_masquerade: bool, as_json: bool) -> None:
    """Put the host itself on the network and print its addresses; asked again, it prints the same."""
    router = client()
    done = router.value("POST", "expose", body={
        "addresses": _wishes(words),
        "fqdn": None if fqdn is None else qualified(router, fqdn),
        "masquerade": not without_masquerade,
    })
    print_addresses(done, as_json=as_json)


@click.command(epilog="Example: weave hide")
@click.argument("words", nargs=-1, metavar="[ADDRESS]...")
@printing
def hide(words: Sequence[str], as_json: bool) -> None:
    """Take the host, or some of its addresses, off the network and print what was removed."""
    removed = client().value("DELETE", "expose", query={"addresses": _wishes(words)})
    what = f"{' '.join(words)} was not exposed" if words else "nothing was exposed"
    _print_removed(removed, f"{what} here; `weave ps weave:expose` shows what is", as_json=as_json)
