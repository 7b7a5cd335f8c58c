"""Between gossip and the kernel: which remote endpoints there are, behind which peers, and over which links.

Gossip changes mark the picture as stale; one task programs the kernel with the whole wanted state, and the datapath
applies the difference. Changes that arrive meanwhile are one more round, however many they are. What an earlier router
left in the kernel stays until somebody knows better: a router that returns must not cut what a dead one left running.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network

import trio

from weave.addresses import IPAddress, IPNetwork
from weave.errors import EnvironmentFailure, RemoteError
from weave.logs import fields
from weave.mesh.entries import ChannelChange
from weave.mesh.identity import static_key_of
from weave.mesh.limits import MAX_ADDRESSES
from weave.mesh.service import SEES_US, TRUSTS_US, MeshService
from weave.mesh.views import PeerView
from weave.names import PeerName
from weave.net import (
    INNER_NETWORK,
    Claim,
    Counterpart,
    Datapath,
    Endpoint,
    Key,
    PeerConfig,
    Remote,
    SecureLinks,
    SegmentMtu,
    SleeveClient,
    VxlanProver,
    VxlanWay,
    inner_address,
    read_claim,
    read_features,
)
from weave.router.endpoints import choose, decode_endpoint
from weave.router.inheritance import Inheritance
from weave.router.multicast import Multicast
from weave.router.standby import KIND as STANDBY_KIND
from weave.router.standby import Standby, unreached
from weave.router.underlay import (
    MODE_NONE,
    MODE_SLEEVE,
    MODE_VXLAN,
    Ability,
    LinkDecision,
    PeerUnderlay,
    decide_link,
    degrade,
    host_of,
    improve,
    is_translated,
    wants_tunnel,
    within,
)
from weave.settings import Settings

log = logging.getLogger("weave.fabric")

PROGRAM_INTERVAL_S = 0.02
"""Changes of one burst of gossip become one round of netlink messages."""
RETRY_S = 2.0
ENCRYPTED, CAN_SLEEVE, CAN_VXLAN, CARRIES, PROVES = "encrypted", "sleeve", "vxlan", "mtu", "proves"
"""What a peer says of itself in the mesh."""
TEND_INTERVAL_S = 30.0
"""A look costs some milliseconds. The kernel tells of most damage at once; this finds the rest."""


class Fabric:
    """Own the picture of remote endpoints and links, and keep the kernel equal to it."""

    def __init__(self, settings: Settings, mesh: MeshService, datapath: Datapath, sleeve: SleeveClient,
                 ability: Ability, multicast: Multicast, prover: VxlanProver,
                 secure: SecureLinks | None = None) -> None:
        self.refused: Counter[str] = Counter()
        self.links: list[LinkDecision] = []
        self.failure: str | None = None
        """Why the kernel could not be programmed."""
        self.on_links: Callable[[], None] = lambda: None
        self._settings = settings
        self._mesh = mesh
        self._datapath = datapath
        self._sleeve = sleeve
        self._ability = ability
        self._secure = secure
        self._multicast = multicast
        self._prover = prover
        self._degraded: dict[PeerName, IPAddress] = {}
        """Peers that plain VXLAN is proven not to reach, and where probes of it go."""
        self._ways: dict[PeerName, VxlanWay] = {}
        """Where plain VXLAN is to be proven."""
        self._took_s = 0.0
        """How long it took the last time to program the kernel."""
        self._standby = Standby()
        self.mtu = SegmentMtu(datapath.carries, present=datapath.mtu, floor=datapath.least_mtu)
        self._able: set[PeerName] = set()
        """Peers that can do the sleeve, as this host can."""
        self._claims: dict[PeerName, Claim] = {}
        """What the peers' kernels can."""
        self._places: dict[PeerName, PeerConfig] = {}
        """Where the sleeve finds each peer."""
        self._remote: dict[tuple[PeerName, bytes], Endpoint] = {}
        self._stale = trio.Event()
        self._inheritance = Inheritance({}, now=0.0)
        self._underlay: tuple[IPAddress, ...] = ()
        self._met: dict[PeerName, str] = {}
        """Where the peers were to whom we had a connection."""

    @property
    def hindrance(self) -> str | None:
        """Return why some peers are not served, while all others are."""
        return self._datapath.hindrance

    def endpoints(self) -> list[Endpoint]:
        """Return the remote endpoints, one for each MAC, sorted by MAC; a reachable peer's claim wins."""
        chosen, refused = choose(self._remote.values(), self._mesh.core.reachable())
        self.refused["MAC announced by two peers"] += refused
        return chosen

    def living_endpoints(self) -> list[Endpoint]:
        """Return those whose routers are heard of."""
        reachable = self._mesh.core.reachable()
        return choose((claim for claim in self._remote.values() if claim.peer in reachable), reachable)[0]

    def endpoints_changed(self, changes: Sequence[ChannelChange]) -> None:
        """Take in what peers announce; bad announcements are refused and counted."""
        for change in changes:
            if change.value is None:
                self._remote.pop((change.owner, change.key), None)
                continue
            try:
                self._remote[change.owner, change.key] = decode_endpoint(change.owner, change.key, change.value)
            except RemoteError as exc:
                self.refused["bad endpoint"] += 1
                log.warning("endpoint refused", extra=fields(peer=change.owner, reason=exc))
        self._stale.set()

    def peers_changed(self) -> None:
        """Look at the links again: peers came, went, or moved to another underlay address."""
        self._stale.set()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the kernel equal to the picture until cancelled."""
        await self._inherit()
        self._decide()
        task_status.started()
        while True:
            self._stale = trio.Event()
            wait_s = self._deadline() - trio.current_time() if await self._program() else RETRY_S
            with trio.move_on_after(max(0.0, wait_s)):
                await self._stale.wait()
                await trio.sleep(PROGRAM_INTERVAL_S)

    def _deadline(self) -> float:
        """Return when something is to be programmed though nobody told of a change."""
        return min(self._inheritance.deadline(), self.mtu.deadline(), self._multicast.groups.deadline(),
                   self._standby.deadline())

    async def tend(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look at the kernel when it tells of damage, and now and then, and put back what somebody else changed."""
        task_status.started()
        while True:
            with trio.move_on_after(TEND_INTERVAL_S) as waited:
                await self._datapath.damage()
            is_told = not waited.cancelled_caught
            if self._secure is not None and is_told:
                self._secure.gate.doubt()
            try:
                await self._datapath.reconcile(listing=is_told)
                if (self._underlay, self._met) != (self._own_addresses(), self._meets()):
                    self._stale.set()
            except EnvironmentFailure as exc:
                log.warning("cannot look after the kernel; trying again", extra=fields(reason=exc))

    async def _inherit(self) -> None:
        """Take over what an earlier router left: by VXLAN from the kernel, by the sleeve from the sleeve."""
        found = await self._sleeve.find()
        self._places = {PeerName(config.name): config for config in found.peers if not config.standby}
        self._prover.doubt(self._places)
        behind: dict[PeerName, list[Endpoint]] = {name: [] for name in self._places}
        for endpoint in self._datapath.inherited_sleeve():
            name = PeerName(found.macs.get(_octets(endpoint.mac), ""))
            if name in behind:
                behind[name].append(endpoint)
        self._inheritance = Inheritance(self._datapath.inherited(), trio.current_time(), behind)

    async def _program(self) -> bool:
        began = trio.current_time()
        self._decide()
        self._settle_inheritance()
        open_links = {link.peer: link.vtep for link in self.links if link.mode != MODE_NONE}
        named = [Remote(peer, address) for peer, address in sorted(open_links.items())]
        remotes = self._inheritance.remotes(named)
        endpoints = self._inheritance.endpoints(self.endpoints(), named)
        try:
            accepted = await self._want_tunnels(remotes) | frozenset(self._degraded.values())
            await self._settle_mtu()
            await self._datapath.set_receivers(self._multicast.receivers(
                [remote.peer for remote in remotes if remote.vtep is not None]))
            await self._datapath.set_remotes(remotes, accepted)
            await self._datapath.set_endpoints(endpoints)
            self._want_sleeve(remotes, endpoints)
            self._prover.want(self._ways, self._datapath.mtu)
        except EnvironmentFailure as exc:
            self.failure = str(exc)
            log.error("cannot program the kernel; trying again", extra=fields(reason=exc, after_s=RETRY_S))  # noqa: TRY400 - an expected condition
            return False
        self.failure = None
        self._took_s = trio.current_time() - began
        return self.hindrance is None

    async def _settle_mtu(self) -> None:
        """Have the MTU that every reachable host carries."""
        told = {peer.name: read_claim(peer.features.get(CARRIES)) for peer in self._mesh.core.peers()
                if peer.reachable and not peer.is_self}
        mtu = self.mtu.hear({peer: claim for peer, claim in told.items() if claim is not None}, trio.current_time())
        if mtu != self._datapath.mtu:
            log.info("MTU of the segment", extra=fields(mtu=mtu, before=self._datapath.mtu, weakest=self.mtu.weakest))
            await self._datapath.set_mtu(mtu)
            if self._secure is not None:
                self._secure.resize(mtu)

    async def _want_tunnels(self, remotes: Sequence[Remote]) -> frozenset[IPAddress]:
        """Have the gate as wanted before forwarding is; return where VXLAN may come from by tunnels."""
        if self._secure is None:
            return frozenset()
        tunnels = {link.vtep for link in self.links if link.mode != MODE_VXLAN} | self._secure.inherited()
        plain = [remote.vtep for remote in remotes if remote.vtep is not None and remote.vtep not in tunnels]
        await self._secure.settle([*plain, *self._degraded.values()])
        return self._secure.accepted()

    def _want_sleeve(self, remotes: Sequence[Remote], endpoints: Sequence[Endpoint]) -> None:
        """Tell the sleeve which peers are its own, and which MACs are behind them."""
        peers = {remote.peer for remote in remotes if remote.vtep is None and remote.peer in self._places}
        macs = {_octets(endpoint.mac): str(endpoint.peer) for endpoint in endpoints if endpoint.peer in peers}
        idle = (self._helpers() & self._places.keys()) - peers
        self._sleeve.want([replace(self._places[peer], standby=peer in idle) for peer in sorted(peers | idle)], macs)

    def _helpers(self) -> frozenset[PeerName]:
        """Return the peers that stand by for us, or we for them; ask those that are to."""
        now = trio.current_time()
        by_sleeve = {link.peer for link in self.links
                     if link.mode == MODE_SLEEVE and self._mesh.core.is_reachable(link.peer)}
        lost = unreached(by_sleeve, self._sleeve.statuses)
        able = {peer for peer in self._able
                if self._mesh.core.is_reachable(peer) and peer not in lost and peer not in self._degraded}
        # Among peers that are all reached by the sleeve everybody has a session with whoever could help.
        helped = lost if able <= by_sleeve else by_sleeve
        ours = {view.peer for view in self._mesh.core.connections() if view.established}
        cut_off = {peer.name: frozenset(link.peer for link in peer.links if link.established and link.peer in ours)
                   for peer in self._mesh.core.peers() if peer.name in helped}
        for helper in self._standby.choose(cut_off, able, now):
            self._mesh.send(helper, STANDBY_KIND, b"")
        return self._standby.peers(now)

    def stand_by(self, client: PeerName) -> None:
        """Help a peer to reach others by the sleeve."""
        self._standby.asked(client, trio.current_time())
        self._stale.set()

    def _settle_inheritance(self) -> None:
        """Let go of what an earlier router left where somebody knows better, or where plain traffic may not go now."""
        self._inheritance.settle(self.links, trio.current_time())
        if self._secure is None:
            self._inheritance.drop(vtep for vtep in self._inheritance.vteps() if within(vtep, (INNER_NETWORK,)))
        for link in self.links:
            self._inheritance.drop({link.address, inner_address(link.peer)} - {link.vtep})
        self._inheritance.drop(link.peer for link in self.links if link.mode != MODE_SLEEVE)
        if self._settings.passwords:
            trusted = self._settings.trusted_subnets
            sealed = frozenset() if self._secure is None else self._secure.inherited()
            self._inheritance.drop(vtep for vtep in self._inheritance.vteps()
                                   if vtep not in sealed and not within(vtep, trusted))

    def _decide(self) -> None:
        self._underlay, self._met = self._own_addresses(), self._meets()
        self._advertise()
        peers = self._peers()
        links = self._improved(peers, [
            decide_link(peer, encrypts=bool(self._settings.passwords), own_addresses=self._underlay,
                        trusted_subnets=self._settings.trusted_subnets, ability=self._ability)
            for peer in peers
        ])
        links = self._proven(peers, links)
        if links != self.links:
            before = {link.peer: link for link in self.links}
            for link in links:
                if before.get(link.peer) != link:
                    log.info("link", extra=fields(peer=link.peer, nickname=link.nickname, mode=link.mode,
                                                  address=link.address, reason=link.reason))
            self.links = links
            self.on_links()

    def _own_addresses(self) -> tuple[IPAddress, ...]:
        return self._settings.advertise or self._datapath.underlay_addresses()

    def _meets(self) -> dict[PeerName, str]:
        """Return where the peers are to whom we have a connection; of one that is made anew nobody tells."""
        return {view.peer: view.address for view in self._mesh.core.connections() if view.established}

    def _advertise(self) -> None:
        """Tell the others where this host is, where that is not what they were told: addresses come and go."""
        addresses = tuple(map(str, self._underlay[:MAX_ADDRESSES]))
        if addresses != self._mesh.core.addresses():
            log.info("underlay addresses", extra=fields(addresses=",".join(addresses)))
            self._mesh.advertise(addresses)

    def _proven(self, peers: Sequence[PeerUnderlay], links: Sequence[LinkDecision]) -> list[LinkDecision]:
        """Leave plain VXLAN where it is proven not to get through; note where that is to be proven."""
        self._able = {peer.name for peer in peers if peer.sleeve and self._ability.sleeve}
        provers = {peer.name for peer in peers if peer.proves}
        rtts = {view.peer: view.rtt_s for view in self._mesh.core.connections() if view.established}
        # So slow are we ourselves, and the others, in general: who has not yet programmed us answers nothing.
        slow_s = max(self._took_s, min((rtt_s for rtt_s in rtts.values() if rtt_s is not None), default=0.0))
        ways = {link.peer: VxlanWay(link.address, self._mesh.core.is_reachable(link.peer), link.peer in rtts,
                                    max(slow_s, rtts.get(link.peer) or 0.0))
                for link in links if link.mode == MODE_VXLAN and link.address is not None
                and link.peer in self._able & provers}
        self._ways = ways
        broken = self._prover.broken()
        self._degraded = {peer: way.address for peer, way in ways.items() if peer in broken}
        return [degrade(link, broken[link.peer]) if link.peer in self._degraded else link for link in links]

    def _improved(self, peers: Sequence[PeerUnderlay], links: Sequence[LinkDecision]) -> list[LinkDecision]:
        """Ask for tunnels where they would be better, and use those that carry."""
        if self._secure is None:
            return list(links)
        wanted = [(peer, link) for peer, link in zip(peers, links, strict=True)
                  if wants_tunnel(peer, link, encrypts=bool(self._settings.passwords), ability=self._ability)]
        found = (self._counterpart(peer, link) for peer, link in wanted)
        self._secure.want([counterpart for counterpart in found if counterpart is not None])
        tunnels = self._secure.links()
        return [improve(link, tunnels[link.peer]) if link.peer in tunnels else link for link in links]

    def _counterpart(self, peer: PeerUnderlay, link: LinkDecision) -> Counterpart | None:
        """Return a peer as the other end of tunnels; None where its key, or the way to it, is not known."""
        identity = self._mesh.core.identity_of(peer.name)
        way = None if link.address is None or self._secure is None else self._secure.way_to(link.address)
        if identity is None or way is None:
            return None
        return Counterpart(peer.name, static_key_of(identity), self._claims.get(peer.name, Claim()), way,
                           is_translated(peer, self._underlay), self._mesh.core.is_reachable(peer.name))

    def _note_claim(self, peer: PeerView) -> None:
        """Note by which tunnels a peer says that it can be reached."""
        try:
            self._claims[peer.name] = read_features(peer.features)
        except RemoteError as exc:
            self._claims[peer.name] = Claim()
            log.warning("features of a peer make no sense", extra=fields(peer=peer.name, reason=exc))

    def _peers(self) -> list[PeerUnderlay]:
        connections = {view.peer: view for view in self._mesh.core.connections() if view.established}
        result = []
        for peer in self._mesh.core.peers():
            if peer.is_self:
                continue
            connection = connections.get(peer.name)
            said = {} if connection is None else connection.features
            trusts = said.get(TRUSTS_US)
            host = None if connection is None else host_of(connection.address)
            advertised = _addresses(peer.addresses)
            self._place(peer, host, advertised)
            self._note_claim(peer)
            result.append(PeerUnderlay(
                name=peer.name, nickname=peer.nickname, connected_from=host,
                advertised=advertised, encrypts=bool(peer.features.get(ENCRYPTED)),
                sleeve=bool(peer.features.get(CAN_SLEEVE)), vxlan=peer.features.get(CAN_VXLAN) is not False,
                proves=peer.features.get(PROVES) is True,
                trusts_us=trusts if isinstance(trusts, bool) else None,
                trusted_subnets=_networks(peer.trusted_subnets), sees_us=_seen(said.get(SEES_US)),
            ))
        return result

    def _place(self, peer: PeerView, host: IPAddress | None, advertised: Sequence[IPAddress]) -> None:
        """Note who a peer is and where the sleeve may find it; one whose key is not known yet is none for it."""
        identity = self._mesh.core.identity_of(peer.name)
        if identity is None:
            return
        hosts = dict.fromkeys([*([] if host is None else [host]), *advertised])
        self._places[peer.name] = PeerConfig(peer.name, Key(static_key_of(identity)),
                                             tuple((str(item), peer.control_port) for item in hosts))


def _octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def _addresses(texts: Sequence[str]) -> tuple[IPAddress, ...]:
    """Return what is an address among what a peer advertises."""
    found = []
    for text in texts:
        try:
            found.append(ip_address(text))
        except ValueError:
            continue
    return tuple(found)


def _seen(value: object) -> IPAddress | None:
    """Return the address at which a peer says that it sees us; None where it says nothing, or nonsense."""
    return ip_address(value) if isinstance(value, bytes) and len(value) in (4, 16) else None


def _networks(texts: Sequence[str]) -> tuple[IPNetwork, ...]:
    """Return what is a subnet among what a peer says it trusts; anything else trusts nobody."""
    found = []
    for text in texts:
        try:
            found.append(ip_network(text))
        except ValueError:
            continue
    return tuple(found)
