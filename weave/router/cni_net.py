"""The plugin `weave-net`: put a container on this host's bridge and tell its runtime what it got.

Addresses come from our allocator, or from the IPAM plugin that the configuration names. An attachment is known by
container and interface, so that a container may have several; the network's name is kept with it for GC.
"""

import logging
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from weave.addresses import IPAddress
from weave.api.control import Attachment, AttachSpec, DetachSpec
from weave.api.wishes import Exactly, Wish
from weave.cni import plan
from weave.cni.errors import CniError, Code
from weave.cni.netconf import Rate
from weave.cni.plan import Host
from weave.cni.reading import invalid
from weave.cni.request import Call, Verb
from weave.cni.result import NO_DNS, Address, Dns, Interface, Result, Route
from weave.dns.labels import registered_name
from weave.errors import LocalError, WeaveError
from weave.logs import fields
from weave.net import Datapath, Limit
from weave.router.addressing import Addressing
from weave.router.comparison import differences
from weave.router.containers import Containers, ident_of
from weave.router.delegation import delegate
from weave.router.exposure import Exposure
from weave.router.readiness import Readiness
from weave.router.undoing import undoing

log = logging.getLogger("weave.cni")

BITS = 8


class NetPlugin:
    """Answer for `weave-net`."""

    def __init__(self, *, host: Host, datapath: Datapath, addressing: Addressing, exposure: Exposure,
                 containers: Containers, readiness: Readiness) -> None:
        self._host = host
        self._datapath = datapath
        self._addressing = addressing
        self._exposure = exposure
        self._containers = containers
        self._readiness = readiness

    async def add(self, call: Call) -> Result:
        """Attach; when anything fails, nothing is left, of other plugins neither."""
        conf = call.conf
        plan.check_bridge(conf, self._host)
        _check_namespace(call)
        self._readiness.check_policy(Code.TRY_AGAIN)
        await self._containers.refuse_living(call.container, call.interface)
        async with undoing() as undo:
            given = await self._delegated(call, undo)
            wishes = plan.wishes_of(call, self._host) if given is None else _as_wishes(given)
            gateways = await self._gateways(call, wishes, given)
            routes = (plan.routes_of(conf, gateways, conf.previous) if given is None
                      else plan.completed(given.routes, gateways))
            attachment = await self._containers.attach(self._spec(call, wishes, routes))
            undo.push_async_callback(self._containers.detach, DetachSpec(call.container, call.interface))
            await self._shape(call)
        ours = self._result(call, attachment, gateways, routes, NO_DNS if given is None else given.dns)
        return ours if conf.previous is None else conf.previous.followed_by(ours)

    async def delete(self, call: Call) -> None:
        """Detach, and have the other plugin release; both are tried whatever becomes of the other."""
        failures: list[WeaveError] = []
        try:
            await self._containers.detach(DetachSpec(call.container, call.interface))
        except WeaveError as exc:
            failures.append(exc)
        if not call.conf.ipam.is_ours:
            try:
                await delegate(call, Verb.DEL, call.conf.ipam.type)
            except WeaveError as exc:
                failures.append(exc)
        if failures:
            raise failures[0]

    async def check(self, call: Call) -> None:
        """Compare what is there with what ADD told."""
        if call.conf.previous is None:
            raise invalid("prevResult is missing: CHECK compares with it")
        _check_namespace(call)
        actual = await self._datapath.inspect(call.container, call.interface, Path(call.netns))
        found = differences(call, call.conf.previous, actual, segment_mtu=self._datapath.mtu)
        if not found and not self._is_recorded(call):
            found = [f"the router has no record of {call.interface} of container {call.container}"]
        if found:
            raise CniError(Code.DIFFERENT, "; ".join(found))
        if not call.conf.ipam.is_ours:
            await delegate(call, Verb.CHECK, call.conf.ipam.type)

    async def collect(self, call: Call) -> None:
        """Detach what belongs to this network and is not valid any more."""
        valid = valid_attachments(call)
        failures = []
        for attachment in self._containers.attachments():
            key = (attachment.container, attachment.interface)
            if attachment.network == call.conf.name and key not in valid:
                try:
                    await self._containers.detach(DetachSpec(*key))
                except WeaveError as exc:
                    failures.append(f"{key[0]} {key[1]}: {exc}")
        if not call.conf.ipam.is_ours:
            try:
                await delegate(call, Verb.GC, call.conf.ipam.type)
            except WeaveError as exc:
                failures.append(str(exc))
        raise_together(failures)

    async def status(self, call: Call) -> None:
        """Say whether ADD could be served now."""
        plan.check_bridge(call.conf, self._host)
        self._readiness.check_policy(Code.UNAVAILABLE)
        await self._readiness.check(allocates=call.conf.ipam.is_ours)
        if not call.conf.ipam.is_ours:
            await delegate(call, Verb.STATUS, call.conf.ipam.type)

    # -- steps of ADD -----------------------------------------------------------------------------------------------

    async def _delegated(self, call: Call, undo: AsyncExitStack) -> Result | None:
        """Return the addresses of the other IPAM plugin; None where there is none."""
        if call.conf.ipam.is_ours:
            return None
        if call.conf.is_gateway:
            raise invalid("isGateway is not possible with another IPAM plugin: the bridge's own addresses must be "
                          "unique on all hosts; leave it out")
        # before it runs, and though it may fail: by the rules of delegation a failed ADD is followed by DEL
        undo.push_async_callback(delegate, call, Verb.DEL, call.conf.ipam.type)
        given = await delegate(call, Verb.ADD, call.conf.ipam.type)
        if not given.addresses:
            raise CniError(Code.DELEGATE, f"the IPAM plugin {call.conf.ipam.type} gave no address")
        return given

    async def _gateways(self, call: Call, wishes: Sequence[Wish], given: Result | None) -> dict[int, IPAddress]:
        """Return the gateway of each family, and make the host one where it must be."""
        conf = call.conf
        if given is not None:
            return {item.gateway.version: item.gateway for item in reversed(given.addresses) if item.gateway}
        gateways: dict[int, IPAddress] = {gateway.version: gateway for gateway in conf.ipam.gateways}
        for subnet in plan.gateway_subnets(conf, wishes, self._host):
            address = await self._exposure.gateway(subnet, masquerade=plan.masquerades(conf))
            gateways.setdefault(subnet.version, address.ip)
        return gateways

    def _spec(self, call: Call, wishes: Sequence[Wish], routes: Sequence[Route]) -> AttachSpec:
        conf = call.conf
        asked = conf.ipam.routes is not None or not conf.ipam.is_ours
        pairs = tuple((route.destination, route.gateway) for route in routes)
        return AttachSpec(
            container=call.container, netns=Path(call.netns), interface=call.interface, wishes=tuple(wishes),
            fqdns=names_of(call, self._host), mac=plan.mac_of(call), mtu=conf.mtu, hairpin=conf.hairpin,
            routes=pairs if asked else (), optional_routes=() if asked else pairs, multicast_route=False,
            labels=plan.labels_of(call), network=conf.name, must_be_new=True)

    async def _shape(self, call: Call) -> None:
        limits = call.conf.bandwidth
        if limits:
            await self._datapath.shape(call.container, call.interface, Path(call.netns),
                                       to_container=_limit(limits.ingress), from_container=_limit(limits.egress))

    def _result(self, call: Call, attachment: Attachment, gateways: dict[int, IPAddress], routes: Sequence[Route],
                given: Dns) -> Result:
        near, near_mac = self._datapath.host_end(call.container, call.interface)
        interfaces = (
            Interface(self._host.bridge, self._datapath.bridge_mac, self._datapath.mtu),
            Interface(near, near_mac, attachment.mtu),
            Interface(call.interface, attachment.mac, attachment.mtu, call.netns),
        )
        addresses = tuple(Address(item, gateways.get(item.version), 2) for item in attachment.addresses)
        kept = tuple(route for route in routes if route.destination not in attachment.left_out)
        return Result(interfaces, addresses, kept, self._dns(call, given))

    def _dns(self, call: Call, given: Dns) -> Dns:
        bridge = self._addressing.bridge
        if not call.conf.weave_dns or bridge is None or not self._host.domain:
            return call.conf.dns.over(given)
        domain = self._host.domain.rstrip(".")
        return call.conf.dns.over(Dns((str(bridge.ip),), domain, (domain,))).over(given)

    def _is_recorded(self, call: Call) -> bool:
        recorded = any((item.container, item.interface) == (call.container, call.interface)
                       for item in self._containers.attachments())
        held = self._addressing.lookup(ident_of(call.container, call.interface), None)
        return recorded and (bool(held) or not call.conf.ipam.is_ours or not self._host.ranges)


def valid_attachments(call: Call) -> frozenset[tuple[str, str]]:
    """Return what GC keeps; a list that is missing must not be taken for an empty one."""
    if call.conf.valid is None:
        raise invalid("cni.dev/valid-attachments is missing: without it nothing could be kept")
    return call.conf.valid


def raise_together(failures: Sequence[str]) -> None:
    """Raise one error for all that failed."""
    if failures:
        raise CniError(Code.IO_FAILURE, f"{len(failures)} attachments could not be removed: {'; '.join(failures)}")


def names_of(call: Call, host: Host) -> tuple[str, ...]:
    """Return the names to register; a pod whose own name is none for DNS gets its network without it."""
    names, pod = plan.aliases_of(call, host), plan.pod_name_of(call, host)
    if pod is None:
        return names
    try:
        registered_name(pod, host.domain)
    except LocalError as exc:
        log.info("a pod has no name in DNS", extra=fields(container=call.container, reason=exc))
        return names
    return (*names, pod)


def _check_namespace(call: Call) -> None:
    if not os.path.exists(call.netns):
        raise CniError(Code.UNKNOWN_CONTAINER, f"there is no network namespace at {call.netns}")


def _as_wishes(given: Result) -> tuple[Wish, ...]:
    return tuple(Exactly(item.interface) for item in given.addresses)


def _limit(rate: Rate) -> Limit:
    return Limit(rate.rate // BITS, rate.burst // BITS)
