"""Operations on names: register, remove, look up, and where the name service listens."""

from weave.api.arguments import Call
from weave.api.errors import FeatureOff, NotFound
from weave.api.operations import WAIT_DEADLINE_S, Field, Operation, Shape
from weave.api.replies import DONE, Reply
from weave.api.report import DnsReport
from weave.api.routes.addresses import LEGACY


def _dns(call: Call) -> DnsReport:
    dns = call.control.report()["DNS"]
    if dns is None:
        raise FeatureOff("this router answers no names (--no-dns)")
    return dns


async def _domain(call: Call) -> Reply:
    domain = _dns(call)["Domain"]
    return Reply(domain, {"domain": domain})


async def _address(call: Call) -> Reply:
    host = _dns(call)["Address"].rpartition(":")[0].strip("[]")
    return Reply(host, {"address": host})


async def _serve(call: Call) -> Reply:
    _dns(call)
    address = str(await call.control.name_service())
    return Reply(address, {"address": address})


async def _address_and_port(call: Call) -> Reply:
    address = _dns(call)["Address"]
    return Reply(address, {"address": address})


async def _entries(call: Call) -> Reply:
    return Reply(value=list(_dns(call)["Entries"]))


async def _lookup(call: Call) -> Reply:
    _dns(call)
    name = call.path["name"]
    addresses = [str(address) for address in call.control.resolve(name)]
    if not addresses:
        raise NotFound(f"no address is known for {name}; `weave status dns` lists the names")
    return Reply("\n".join(addresses) + "\n", {"name": name, "addresses": addresses})


async def _add(call: Call) -> Reply:
    fqdn = call.text("fqdn")
    assert fqdn is not None
    await call.control.add_name(call.path["container"], fqdn, call.path_address())
    return DONE


async def _remove(call: Call) -> Reply:
    address = call.path_address() if "address" in call.path else None
    await call.control.remove_name(call.path.get("container"), call.text("fqdn"), address)
    return DONE


_FQDN = Field("fqdn", Shape.TEXT, "Only this name.", "c1.weave.local.")
_ONE = "/name/{container}/{address}"
_REMOVED = "nothing, also where nothing matched"
OPERATIONS = (
    Operation("GET", "/domain", "The domain we answer for", _domain, "the domain", subject="names"),
    Operation("GET", "/dns-address", "Where the name service listens", _address, "its address", subject="names"),
    Operation("POST", "/dns-address", "Have the name service listen, if it does not yet; the bridge gets an address",
              _serve, "its address", subject="names", deadline_s=WAIT_DEADLINE_S, waits=True),
    Operation("GET", "/dns-address-port", "Where the name service listens", _address_and_port,
              "its address and port", subject="names"),
    Operation("GET", "/name", "All names", _entries, "a list of names as in the report", subject="names"),
    Operation("GET", "/lookup/{name}", "The addresses of one name", _lookup, "its addresses, one a line",
              subject="names"),
    Operation("PUT", _ONE, "Register a name", _add, "nothing", subject="names", fields=(
        Field("fqdn", Shape.TEXT, "The name; our domain may be left out.", "c1.weave.local.", required=True),
        LEGACY)),
    Operation("DELETE", "/name", "Remove names", _remove, _REMOVED, subject="names", fields=(
        Field("fqdn", Shape.TEXT, "The name.", "c1.weave.local.", required=True),)),
    Operation("DELETE", "/name/{container}", "Remove the names of a container", _remove, _REMOVED, subject="names",
              fields=(_FQDN,)),
    Operation("DELETE", _ONE, "Remove the names of a container with this address", _remove, _REMOVED,
              subject="names", fields=(_FQDN,)),
)
