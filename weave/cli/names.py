"""Commands about names: dns-add, dns-remove, dns-lookup, dns-args."""

import re
from collections.abc import Sequence

import click

from weave.addresses import parse_address, parse_interface
from weave.api.client import Client, Refused
from weave.cli.common import client, print_json, printing
from weave.cli.target import identify

EXTERN = "weave:extern"
"""Under which names of things outside any container are kept, as in Weave Net."""
_LIKE_AN_ADDRESS = re.compile(r"\d+(\.\d+){3}(/.*)?|[0-9a-f]*:[0-9a-f]*:[0-9a-f:.]*(/.*)?", re.IGNORECASE)


@click.command(name="dns-add", epilog="Example: weave dns-add 192.0.2.9 -h printer.weave.local")
@click.argument("words", nargs=-1, required=True, metavar="[ADDRESS]... [CONTAINER]")
@click.option("-h", "--fqdn", metavar="NAME", help="The name; a container's own by default.")
def dns_add(words: Sequence[str], fqdn: str | None) -> None:
    """Register a name for a container, or for addresses of anything else."""
    router = client()
    ident, addresses, name = _meant(words, fqdn)
    if name is None:
        raise click.UsageError("say the name with -h NAME")
    full = qualified(router, name)
    for address in addresses or _held(router, ident):
        router.call("PUT", "name", ident, address, body={"fqdn": full})


@click.command(name="dns-remove", epilog="Example: weave dns-remove 192.0.2.9 -h printer.weave.local")
@click.argument("words", nargs=-1, required=True, metavar="[ADDRESS]... [CONTAINER]")
@click.option("-h", "--fqdn", metavar="NAME", help="Only this name; all by default.")
def dns_remove(words: Sequence[str], fqdn: str | None) -> None:
    """Remove the names of a container, or of addresses of anything else."""
    router = client()
    ident, addresses, _ = _meant(words, fqdn)
    query = {} if fqdn is None else {"fqdn": qualified(router, fqdn)}
    if not addresses:
        router.call("DELETE", "name", ident, query=query)
    for address in addresses:
        router.call("DELETE", "name", ident, address, query=query)


@click.command(name="dns-lookup", epilog="Example: weave dns-lookup c1")
@click.argument("name")
@printing
def dns_lookup(name: str, as_json: bool) -> None:
    """Print the addresses of a name, one a line; our domain may be left out."""
    if not name.strip():
        raise click.UsageError("the name is empty")
    answer = client().value("GET", "lookup", name)
    if as_json:
        print_json(answer)
        return
    assert isinstance(answer, dict)
    for address in answer["addresses"]:
        click.echo(address)


def _meant(words: Sequence[str], fqdn: str | None) -> tuple[str, list[str], str | None]:
    """Return whose name it is, the addresses given, and the name."""
    addresses = [address_of(word) for word in words if is_address(word)]
    others = [word for word in words if not is_address(word)]
    if len(others) > 1 or (others and words[-1] != others[0]):
        raise click.UsageError("write the addresses first, then one container at most")
    if others:
        target = identify(others[0])
        return target.ident, addresses, fqdn or target.fqdn
    if fqdn is None:
        raise click.UsageError("without a container, say the name with -h NAME")
    return EXTERN, addresses, fqdn


def is_address(word: str) -> bool:
    """Say whether a word is meant as an IP address, with or without a prefix length; no container is called so."""
    return _LIKE_AN_ADDRESS.fullmatch(word) is not None


def address_of(word: str) -> str:
    """Return the address that a word is; raise `LocalError` where it only looks like one."""
    return str(parse_interface(word).ip if "/" in word else parse_address(word))


def _held(router: Client, ident: str) -> list[str]:
    """Return the addresses that a container has here: those of its interfaces, or what is held for it without any."""
    try:
        attached = router.value("GET", "attachment", ident)
    except Refused as refusal:
        if refusal.reason != "not-found":
            raise
        attached = [router.value("GET", "ip", ident)]
    assert isinstance(attached, list)
    return [str(address).partition("/")[0] for each in attached for address in each["addresses"]]


@click.command(name="dns-args", epilog="Example: weave dns-args     (as in: docker run -d $(weave dns-args) nginx)")
def dns_args() -> None:
    """Print the options of `docker run` (or `podman run`) by which a container asks weave DNS of this host.

    The bridge gets an address for that where it has none yet.
    """
    router = client()
    address = router.call("POST", "dns-address").text.strip()
    domain = router.call("GET", "domain").text.strip().rstrip(".")
    click.echo(f"--dns={address} --dns-search={domain}")


def qualified(router: Client, name: str) -> str:
    """Complete a name without a dot with the router's domain."""
    return name if "." in name else f"{name}.{router.call('GET', 'domain').text.strip()}"
