"""The plugin `weave-ipam`: addresses of our range for interfaces that another plugin makes."""

from weave.addresses import IPAddress
from weave.cni import plan
from weave.cni.errors import CniError, Code
from weave.cni.plan import Host
from weave.cni.reading import invalid
from weave.cni.request import Call
from weave.cni.result import Address, Result
from weave.errors import WeaveError
from weave.router.addressing import Addressing
from weave.router.cni_net import raise_together, valid_attachments
from weave.router.containers import ident_of
from weave.router.leases import Lease, Leases, namespace_at
from weave.router.readiness import Readiness


class IpamPlugin:
    """Answer for `weave-ipam`."""

    def __init__(self, *, host: Host, addressing: Addressing, leases: Leases, readiness: Readiness) -> None:
        self._host = host
        self._addressing = addressing
        self._leases = leases
        self._readiness = readiness

    async def add(self, call: Call) -> Result:
        """Give addresses; asked again for the same interface, the same ones."""
        conf = call.conf
        lease = Lease(call.container, call.interface, conf.name, call.netns, namespace_at(call.netns))
        held = await self._leases.take(lease, plan.wishes_of(call, self._host))
        gateways: dict[int, IPAddress] = {gateway.version: gateway for gateway in conf.ipam.gateways}
        if conf.bridge == self._host.bridge:
            bridge = await self._addressing.bridge_address()
            if bridge is not None:
                gateways.setdefault(bridge.version, bridge.ip)
        return Result(addresses=tuple(Address(item, gateways.get(item.version)) for item in held),
                      routes=conf.ipam.routes or (), dns=conf.dns)

    async def delete(self, call: Call) -> None:
        """Release the addresses; none is fine."""
        await self._leases.give_back(call.container, call.interface)

    async def check(self, call: Call) -> None:
        """Say whether the addresses of prevResult are held."""
        if call.conf.previous is None:
            raise invalid("prevResult is missing: CHECK compares with it")
        held = set(self._addressing.lookup(ident_of(call.container, call.interface), None))
        told = {item.interface for item in call.conf.previous.addresses}
        if not self._leases.has(call.container, call.interface) or not held & told:
            raise CniError(Code.DIFFERENT, f"no address of prevResult is held for {call.interface} of container "
                           f"{call.container}")

    async def collect(self, call: Call) -> None:
        """Release what belongs to this network and is not valid any more."""
        valid = valid_attachments(call)
        failures = []
        for lease in self._leases.of_network(call.conf.name):
            if lease.key not in valid:
                try:
                    await self._leases.give_back(*lease.key)
                except WeaveError as exc:
                    failures.append(f"{lease.container} {lease.interface}: {exc}")
        raise_together(failures)

    async def status(self, call: Call) -> None:  # noqa: ARG002 - the plugins have one shape
        """Say whether ADD could be served now."""
        await self._readiness.check(allocates=True)
