"""A router, put together: which part is built from which, in which order they start, and how they end.

Start: state file, identity, kernel, mesh, addresses, names, containers, control API; ready when all of them serve.
End: the control API first, the state file last. The kernel keeps what was programmed: containers do not notice.
"""

import logging
import random
import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial

import trio

from store import Store, StoreError, StoreLocked, open_store
from weave import __version__
from weave.addresses import IPNetwork
from weave.api.app import Statistics
from weave.api.server import serve, serve_public
from weave.cni.plan import Host
from weave.dns import Catalogue, DnsConfig, DnsServer
from weave.errors import EnvironmentFailure, LocalError
from weave.ipam import Allocators, IpamService
from weave.logs import fields
from weave.mesh.core import MeshCore
from weave.mesh.entries import ChannelChange
from weave.mesh.limits import MAX_ADDRESSES
from weave.mesh.password import OPEN_PSK, stretch
from weave.mesh.peers import LocalPeer, MeshConfig
from weave.mesh.service import MeshService, ServiceConfig
from weave.mesh.verifier import KeyVerifier
from weave.names import PeerName
from weave.net import (
    CryptConfig,
    Datapath,
    DatapathConfig,
    KernelAbility,
    Keys,
    SecureLinks,
    SleeveClient,
    SleeveConfig,
    VxlanProver,
    end_sleeve,
    features_of,
    has_tap,
    probe_kernel,
    sleeve_psk,
    wipe_links,
)
from weave.net.admission import is_guarded
from weave.router import endpoints, multicast, naming, spool
from weave.router.addressing import Addressing
from weave.router.admission import Admission
from weave.router.announce import Announcer
from weave.router.cni import CniServer
from weave.router.cni_ipam import IpamPlugin
from weave.router.cni_net import NetPlugin
from weave.router.containers import Containers, grants_of
from weave.router.control import RouterControl
from weave.router.exposure import Exposure
from weave.router.fabric import CAN_SLEEVE, CAN_VXLAN, CARRIES, ENCRYPTED, PROVES, Fabric
from weave.router.generations import Generations
from weave.router.leases import Leases
from weave.router.multicast import TELLS_GROUPS, Multicast
from weave.router.naming import Naming
from weave.router.others import Others
from weave.router.persister import Persister
from weave.router.readiness import Readiness
from weave.router.spool import Spool
from weave.router.standby import KIND as STANDBY_KIND
from weave.router.state import SelfState, load_self
from weave.router.trace.messages import KIND as TRACE_KIND
from weave.router.trace.tracer import Tracer
from weave.router.underlay import Ability
from weave.settings import Settings
from weave.systemd import READY, STOPPING, notify

log = logging.getLogger("weave.router")

IPAM_KIND = "ipam"
IPAM_CHANNEL = "ipam"
KEYS_KIND = "keys"
"""Of messages by which two peers agree on the keys of an encrypted link."""
UID_BITS = 63
KEEP_SOURCES_INTERVAL_S = 0.2
"""A change of the firewall takes some 20 ms; of a burst of containers only the last matters."""
GENERATION_BITS = 48
"""Of the first generation: one of an earlier life is not taken for one of this life."""
NOBODY = PeerName("02:00:00:00:00:00")
"""Whose bridge it is when only its end is wanted."""
CONTENTS = "the identity of this peer and the addresses it gave out"


class Router:
    """One router of one host, from start to end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = trio.Event()
        self._wipe = False

    def stop(self, *, wipe: bool = False) -> None:
        """Begin to end; with `wipe` what we made in the kernel and on disk goes too."""
        self._wipe = self._wipe or wipe
        self._stopping.set()

    async def run(self) -> None:
        """Run until stopped; raise `WeaveError` where something that is needed cannot be had."""
        psks = await _stretch_all(self._settings.passwords)
        try:
            async with open_store(self._settings.database, contents=CONTENTS) as store:
                await self._run_with(store, psks)
        except StoreError as exc:
            raise EnvironmentFailure(str(exc)) from exc
        if self._wipe:
            self._remove_state()

    async def wipe(self) -> None:
        """Remove what an earlier run left on this host; refuse while a router runs."""
        me = NOBODY
        try:
            async with open_store(self._settings.database, contents=CONTENTS) as store:
                me = (await load_self(store)).identity.public.name
        except StoreLocked as exc:
            raise LocalError(str(exc)) from exc
        except (StoreError, LocalError) as exc:
            log.warning("the state file is of no use and goes all the same", extra=fields(reason=exc))
        await end_sleeve(self._settings.sleeve_socket)
        async with Datapath.open(self._datapath_config(me)) as datapath:
            await datapath.wipe()
        await wipe_links(self._datapath_config(me))
        self._remove_state()

    def _check_routes(self, datapath: Datapath) -> None:
        """Refuse a default range, and warn of a chosen one, whose addresses the host already sends elsewhere."""
        for range_ in self._settings.ranges:
            routes = ", ".join(map(str, datapath.routes_into(range_)))
            if routes and not self._settings.range_is_chosen:
                raise LocalError(f"the default range {range_} overlaps routes of this host ({routes}); "
                                 "choose another with --ipalloc-range, the same on all hosts")
            if routes:
                log.warning("the range overlaps routes of this host", extra=fields(range=range_, routes=routes))

    def _remove_state(self) -> None:
        for leftover in self._settings.state_dir.glob(self._settings.database.name + "*"):
            leftover.unlink()

    def _datapath_config(self, me: PeerName, ability: KernelAbility | None = None) -> DatapathConfig:
        return DatapathConfig(peer=me, bridge=self._settings.bridge, mtu=self._settings.mtu,
                              port=self._settings.vxlan_port, guard_sources=self._settings.guard_sources,
                              route_subnets=self._settings.route_subnets, advertise=self._settings.advertise,
                              ipv6=any(range_.version == 6 for range_ in self._settings.ranges),
                              sealing=0 if ability is None else ability.overhead)

    def _ability(self) -> KernelAbility | None:
        """Return what the kernel can encrypt by; None where it is not to."""
        return probe_kernel() if self._settings.passwords and not self._settings.sleeve_alone else None

    async def _run_with(self, store: Store, psks: tuple[bytes, ...]) -> None:
        state = await load_self(store)
        me = state.identity.public.name
        ability = self._ability()
        config = self._datapath_config(me, ability)
        async with AsyncExitStack() as stack:
            datapath = await stack.enter_async_context(Datapath.open(config, grants=await grants_of(store)))
            self._check_routes(datapath)
            if ability is None:
                await wipe_links(config)
                secure = None
            else:
                secure = await stack.enter_async_context(SecureLinks.open(CryptConfig(
                    datapath=config, static=state.identity.static_keys, incarnation=state.incarnation,
                    password_keys=psks, segment_mtu=datapath.mtu, underlay_mtu=datapath.underlay_mtu,
                    ability=ability)))
            prover = await stack.enter_async_context(VxlanProver.open(config))
            parts = Parts(self._settings, state, store, datapath, psks, secure, prover)
            async with trio.open_nursery() as nursery:
                await parts.start(nursery, self)
                log.info("ready", extra=fields(version=__version__, peer=me, nickname=self._settings.nickname))
                notify(READY)
                await self._stopping.wait()
                notify(STOPPING)
                parts.control.ready = False
                if self._wipe and not parts.mesh.core.has_clone():  # what we published, the other one lives by
                    await parts.mesh.retire()
                nursery.cancel_scope.cancel()
            if self._wipe:
                await end_sleeve(self._settings.sleeve_socket)
                await datapath.wipe()
                await wipe_links(config)


class Parts:
    """The parts of a running router and what connects them."""

    def __init__(self, settings: Settings, state: SelfState, store: Store, datapath: Datapath,
                 psks: tuple[bytes, ...], secure: SecureLinks | None, prover: VxlanProver) -> None:
        me = state.identity.public.name
        uid = secrets.randbits(UID_BITS)
        self._settings, self._state, self._me = settings, state, me
        self.datapath = datapath
        self.secure = secure
        self.prover = prover
        self.persister = Persister(store)
        self.mesh = MeshService(state.identity, _mesh_core(settings, state, uid, datapath, secure), ServiceConfig(
            listen=settings.listen, port=settings.port, psks=psks, nickname=settings.nickname, uid=uid,
            trusted_subnets=settings.trusted_subnets))
        self.ipam = None if not settings.ranges else Allocators({
            range_.version: IpamService(
                me=me, range_=range_, default_subnet=subnet, init=settings.first_division, store=store,
                publish=self._publish_ring, send=self._send_ipam)
            for range_, subnet in zip(settings.ranges, settings.default_subnets, strict=True)})
        ranges = settings.ranges
        self.catalogue = None if not settings.dns else Catalogue(
            me=me, domain=settings.dns_domain, ranges=ranges, ttl=settings.dns_ttl)
        self.dns = None if self.catalogue is None else DnsServer(
            self.catalogue, DnsConfig(clients=ranges, resolv_conf=settings.resolv_conf))
        self.sleeve = SleeveClient(sleeve_config(settings, state, datapath, psks))
        self.multicast = Multicast(self.mesh, datapath)
        self.fabric = Fabric(settings, self.mesh, datapath, self.sleeve, _ability(settings), self.multicast, prover,
                             secure)
        others = Others(self.fabric.living_endpoints)
        self.addressing = Addressing(self.ipam, datapath, settings.default_subnets, others)
        self.naming = Naming(store=store, mesh=self.mesh, catalogue=self.catalogue, me=me)
        self.announcer = Announcer(self.mesh, me)
        self.endpoint_watch = Generations(secrets.randbits(GENERATION_BITS))
        self.announcer.on_changed = self.endpoint_watch.advance
        self.exposure = Exposure(store=store, datapath=datapath, addressing=self.addressing, naming=self.naming,
                                 announcer=self.announcer, others=others)
        self.containers = Containers(store=store, datapath=datapath, addressing=self.addressing, naming=self.naming,
                                     announcer=self.announcer, admission=Admission(datapath),
                                     others=others)
        self.leases = Leases(store, self.addressing)
        self.spool = Spool(settings.socket.parent / spool.DIRECTORY)
        self.cni = self._cni_server(ranges)
        self.control = RouterControl(self, settings, store, me, uid)
        self.tracer = Tracer(mesh=self.mesh, datapath=datapath, containers=self.containers,
                             report=self.control.report, routes_subnets=settings.route_subnets)

    def _cni_server(self, ranges: tuple[IPNetwork, ...]) -> CniServer:
        settings = self._settings
        host = Host(bridge=settings.bridge, ranges=ranges, default_subnets=settings.default_subnets,
                    domain=settings.dns_domain if settings.dns else "")
        readiness = Readiness(self.addressing, lambda: self.fabric.failure,
                              lambda: not settings.expects_npc or is_guarded())
        return CniServer(plugins={
            "weave-net": NetPlugin(host=host, datapath=self.datapath, addressing=self.addressing,
                                   exposure=self.exposure, containers=self.containers, readiness=readiness),
            "weave-ipam": IpamPlugin(host=host, addressing=self.addressing, leases=self.leases, readiness=readiness),
        }, forget_spooled=self.spool.forget)

    async def start(self, nursery: trio.Nursery, router: Router) -> None:
        """Start every part in the order in which they need each other; ready when this returns."""
        self.control.on_stop = router.stop
        self.mesh.on_changed = self._changed
        self.mesh.on_deliver = self._deliver
        self.mesh.on_peers_changed = self._peers_changed
        self.mesh.on_persist = self.persister.enqueue
        self.fabric.on_links = self._peers_changed
        self.multicast.on_changed = self.fabric.peers_changed
        self.prover.on_changed = self.fabric.peers_changed
        self.sleeve.on_change = self.fabric.peers_changed
        nursery.start_soon(self.persister.run)
        if self.secure is not None:
            self.secure.on_send = self._send_keys
            self.secure.on_changed = self.fabric.peers_changed
            await nursery.start(self.secure.run)
        if self.ipam is not None:
            await nursery.start(self.ipam.run)
        if self.dns is not None:
            await nursery.start(self.dns.run)
        await nursery.start(self.mesh.run)
        await nursery.start(self.announcer.run)
        targets = [*self._settings.peers, *self._state.targets]
        self.mesh.connect(targets)
        if self.ipam is not None and not targets:
            self.ipam.expect_nobody()
        self._listen_for_names()
        await self.naming.recover()
        await self.exposure.recover()
        await nursery.start(self.datapath.tend)
        await self.containers.recover()
        await self.leases.recover()
        self._peers_changed()
        await nursery.start(self.fabric.run)
        await nursery.start(self.prover.run)
        await nursery.start(self.multicast.run)
        await nursery.start(self.sleeve.run)
        await nursery.start(self.fabric.tend)
        await nursery.start(self.containers.sweep)
        await nursery.start(self.containers.claim_orphans)
        await nursery.start(self.exposure.claim_strays)
        await nursery.start(self._keep_sources)
        await nursery.start(self.leases.sweep)
        await nursery.start(self.tracer.run)
        await nursery.start(self.spool.run, self.cni)
        statistics = Statistics()
        await nursery.start(partial(serve, self.control, self._settings.socket, statistics=statistics))
        if self._settings.metrics is not None:
            await nursery.start(partial(serve_public, self.control, *self._settings.metrics, statistics=statistics))
        self.control.ready = True

    async def _keep_sources(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell the kernel of containers that came or went, so that clients' addresses are kept for them."""
        wanted = self._settings.keep_sources
        generation = await self.endpoint_watch.beyond(None)
        await self.datapath.keep_sources(wanted=wanted)
        task_status.started()
        while wanted:
            await trio.sleep(KEEP_SOURCES_INTERVAL_S)
            generation = await self.endpoint_watch.beyond(generation)
            try:
                await self.datapath.keep_sources(wanted=True)
            except EnvironmentFailure as exc:
                log.warning("clients' addresses are not kept for new containers yet", extra=fields(reason=exc))

    # -- what one part tells, another hears ---------------------------------------------------------------------

    def _changed(self, channel: str, changes: Sequence[ChannelChange]) -> None:
        if channel == endpoints.CHANNEL:
            self.fabric.endpoints_changed(changes)
            self.endpoint_watch.advance()
        elif channel == multicast.CHANNEL:
            self.multicast.entries_changed(changes)
        elif channel == naming.CHANNEL:
            self.naming.entries_changed(changes)
        elif channel == IPAM_CHANNEL and self.ipam is not None:
            self.ipam.entries_changed([(change.owner, change.key, change.value) for change in changes])

    def _deliver(self, kind: str, source: PeerName, payload: bytes) -> None:
        if kind == IPAM_KIND and self.ipam is not None:
            self.ipam.message(source, payload)
        elif kind == STANDBY_KIND:
            self.fabric.stand_by(source)
        elif kind == KEYS_KIND and self.secure is not None:
            self.secure.message(source, payload)
        elif kind == TRACE_KIND:
            self.tracer.message(source, payload)

    def _peers_changed(self) -> None:
        reachable = self.mesh.core.reachable()
        if self.catalogue is not None:
            self.catalogue.reachable(reachable)
        if self.ipam is not None:
            self.ipam.peers_changed(reachable, self.control.nicknames())
        self.fabric.peers_changed()
        self.endpoint_watch.advance()

    def _publish_ring(self, key: bytes, value: bytes | None) -> None:
        self.mesh.publish(IPAM_CHANNEL, key, value)

    def _send_keys(self, peer: PeerName, payload: bytes) -> None:
        self.mesh.send(peer, KEYS_KIND, payload)

    def _send_ipam(self, peer: PeerName, payload: bytes) -> None:
        self.mesh.send(peer, IPAM_KIND, payload)

    def _listen_for_names(self) -> None:
        """Answer names at the bridge's addresses, now and whenever they change."""
        if self.dns is not None:
            dns = self.dns
            self.exposure.on_addresses = lambda addresses: dns.listen([address.ip for address in addresses])


def sleeve_config(settings: Settings, state: SelfState, datapath: Datapath, psks: Sequence[bytes]) -> SleeveConfig:
    """Return how the sleeve of this host is run; its socket is beside that of the control API."""
    return SleeveConfig(
        socket=settings.sleeve_socket, device=DatapathConfig(state.identity.public.name).sleeve,
        listen=settings.listen, port=settings.port, most=datapath.largest_payload,
        keys=Keys(state.identity.static_private, tuple(sleeve_psk(psk) for psk in psks)),
        is_apart=settings.sleeve_apart)


def _ability(settings: Settings) -> Ability:
    return Ability(sleeve=has_tap(), vxlan=not settings.sleeve_alone)


def _mesh_core(settings: Settings, state: SelfState, uid: int, datapath: Datapath,
               secure: SecureLinks | None) -> MeshCore:
    public = state.identity.public
    addresses = settings.advertise or datapath.underlay_addresses()[:MAX_ADDRESSES]
    return MeshCore(
        me=LocalPeer(
            name=public.name, identity=public.encode(), nickname=settings.nickname, uid=uid,
            incarnation=state.incarnation, control_port=settings.port,
            addresses=tuple(str(address) for address in addresses), version=__version__,
            features={ENCRYPTED: bool(settings.passwords), CAN_SLEEVE: has_tap(),
                      CAN_VXLAN: not settings.sleeve_alone, CARRIES: datapath.carries, TELLS_GROUPS: True, PROVES: True,
                      **({} if secure is None else features_of(secure.claim))},
            trusted_subnets=tuple(str(subnet) for subnet in settings.trusted_subnets)),
        signer=state.identity, verifier=KeyVerifier(),
        config=MeshConfig(discovery=settings.discovery, connection_limit=settings.connection_limit,
                          default_port=settings.port),
        rng=random.SystemRandom(), now=trio.current_time(), restored=state.mesh_rows)


async def _stretch_all(passwords: Sequence[str]) -> tuple[bytes, ...]:
    """Turn passwords into keys, off the loop: each takes a tenth of a second on purpose."""
    keys = [await trio.to_thread.run_sync(stretch, password) for password in passwords]
    return tuple(keys) or (OPEN_PSK,)


def check_root(effective_uid: int) -> None:
    """Refuse to start without the rights that programming the kernel needs."""
    if effective_uid != 0:
        raise LocalError("a router programs the kernel's network, which only root can; try it with sudo")
