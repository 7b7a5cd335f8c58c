"""Operations on addresses: allocate, claim, release, look up; the paths are those of Weave Net."""

from collections.abc import Sequence

from weave.addresses import IPInterface
from weave.api.arguments import Call
from weave.api.errors import FeatureOff, NotFound
from weave.api.operations import WAIT_DEADLINE_S, Field, Operation, Shape
from weave.api.replies import DONE, Reply

LEGACY = Field("check-alive", Shape.FLAG, "Accepted for the sake of old clients; changes nothing.", example=True)
_BY_IDENT = "/ip/{ident}"
_BY_SUBNET = "/ip/{ident}/{address}/{length}"


def _addresses_reply(addresses: Sequence[IPInterface]) -> Reply:
    texts = [str(address) for address in addresses]
    return Reply(" ".join(texts), {"addresses": texts})


async def _owned(call: Call) -> Reply:
    owned = sorted(call.control.owned().items())
    return Reply(value={"owned": [
        {"containerid": ident, "addrs": [str(address) for address in addresses]} for ident, addresses in owned
    ]})


async def _lookup(call: Call) -> Reply:
    subnet = call.path_network() if "address" in call.path else None
    found = call.control.lookup(call.path["ident"], subnet)
    if not found:
        raise NotFound(f"{call.path['ident']} holds no address" + (f" in {subnet}" if subnet else ""))
    return _addresses_reply(found)


async def _allocate(call: Call) -> Reply:
    subnet = call.path_network() if "address" in call.path else None
    address = await call.control.allocate(call.path["ident"], subnet)
    return Reply(str(address), {"address": str(address)})


async def _claim(call: Call) -> Reply:
    await call.control.claim(call.path["ident"], call.path_interface())
    return DONE


async def _release(call: Call) -> Reply:
    await call.control.release(call.path["ident"], call.path_address() if "address" in call.path else None)
    return DONE


async def _prime(call: Call) -> Reply:
    await call.control.prime()
    return DONE


async def _default_subnet(call: Call) -> Reply:
    ipam = call.control.report()["IPAM"]
    if ipam is None:
        raise FeatureOff("this router manages no addresses (--ipalloc-range none)")
    return Reply(ipam["DefaultSubnet"], {"default_subnet": ipam["DefaultSubnet"]})


OPERATIONS = (
    Operation("GET", "/ip", "Addresses held on this host", _owned, "who holds which", subject="addresses"),
    Operation("GET", _BY_IDENT, "Addresses of one holder", _lookup, "its addresses", subject="addresses"),
    Operation("GET", _BY_SUBNET, "Addresses of one holder in a subnet", _lookup, "its addresses",
              subject="addresses"),
    Operation("POST", _BY_IDENT, "Allocate an address of the default subnet", _allocate,
              "the address, the same one when asked again", fields=(LEGACY,), subject="addresses",
              deadline_s=WAIT_DEADLINE_S, waits=True),
    Operation("POST", _BY_SUBNET, "Allocate an address of a subnet", _allocate,
              "the address, the same one when asked again", fields=(LEGACY,), subject="addresses",
              deadline_s=WAIT_DEADLINE_S, waits=True),
    Operation("PUT", _BY_SUBNET, "Claim one address", _claim, "nothing; 409 when another holds it",
              fields=(LEGACY,), subject="addresses", deadline_s=WAIT_DEADLINE_S, waits=True),
    Operation("DELETE", _BY_IDENT, "Free all addresses of one holder", _release, "nothing", subject="addresses"),
    Operation("DELETE", "/ip/{ident}/{address}", "Free one address", _release, "nothing", subject="addresses"),
    Operation("GET", "/ring", "Wait until the range has been divided among the peers", _prime, "nothing",
              subject="addresses", deadline_s=WAIT_DEADLINE_S, waits=True),
    Operation("GET", "/ipinfo/defaultsubnet", "The default subnet", _default_subnet, "the subnet",
              subject="addresses"),
)
