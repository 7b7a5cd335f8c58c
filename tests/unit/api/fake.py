"""A router that exists in memory alone, and a small report for it."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_interface, ip_network

import trio

from weave.addresses import IPAddress, IPInterface, IPNetwork
from weave.api.control import Attachment, AttachSpec, DetachSpec
from weave.api.errors import Conflict, FeatureOff, NotFound
from weave.api.report import EndpointReport, Report
from weave.api.samples import Figure, Kind, Sample
from weave.api.trace import State, TraceReport
from weave.api.wishes import AnyIn, Exactly, Wish
from weave.errors import EnvironmentFailure, LocalError

ME = "7a:9f:eb:b6:0c:6e"
YOU = "7e:01:02:03:04:05"
EXPOSE = "weave:expose"


def report(**changes: object) -> Report:
    """Return the report of a router with one peer, with some top-level parts replaced."""
    return deepcopy({**REPORT, **changes})  # type: ignore[return-value]


def a_trace(source: str, destination: str, state: State) -> TraceReport:
    """Return the trace between the two containers of the report, whose last step is in a state."""
    return {
        "From": {"Word": source, "Address": "10.32.0.9", "ContainerID": "c0ffee", "Interface": "ethwe",
                 "MAC": "02:00:00:00:00:01", "Peer": ME, "NickName": "h1"},
        "To": {"Word": destination, "Address": "10.40.0.1", "ContainerID": "beef" * 16, "Interface": "eth0",
               "MAC": "02:00:00:00:00:02", "Peer": YOU, "NickName": "h2"},
        "Legs": [
            {"Peer": ME, "NickName": "h1", "Steps": [
                {"Step": "container", "State": "ok", "Text": "ethwe is up"},
                {"Step": "link", "State": "ok", "Text": "vxlan to 10.0.0.9"}]},
            {"Peer": YOU, "NickName": "h2", "Steps": [{"Step": "container", "State": state, "Text": "eth0 it is"}]},
        ],
    }


@dataclass
class FakeControl:
    """Implements `weave.api.control.Control`; keeps what it is told."""

    ready: bool = True
    the_report: Report = field(default_factory=report)
    held: dict[str, list[IPInterface]] = field(default_factory=dict)
    attached: dict[str, Attachment] = field(default_factory=dict)
    names: list[tuple[str, str, IPAddress]] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    primed: trio.Event = field(default_factory=trio.Event)
    waiting: trio.Event = field(default_factory=trio.Event)
    """Somebody waits for `primed`."""
    stopped: trio.Event = field(default_factory=trio.Event)
    cancelled: trio.Event = field(default_factory=trio.Event)
    wiped: bool = False
    surrendered: bool = False
    masquerade: bool | None = None
    generation: int = 7
    asked: list[tuple[str, bytes]] = field(default_factory=list)
    specs: list[AttachSpec] = field(default_factory=list)

    def report(self) -> Report:
        return self.the_report

    def figures(self) -> Sequence[Figure]:
        return [Sample("weave_gossip_sent_bytes_total", "Bytes gossiped.", Kind.COUNTER, 7, (("channel", "ipam"),))]

    async def trace(self, source: str, destination: str) -> TraceReport:
        if source.isdecimal():
            raise NotFound(f"{source} is nothing on this network")
        return a_trace(source, destination, "ok" if destination == "c2" else "broken")

    async def connect(self, targets: Sequence[str], *, replace: bool) -> None:
        if "bad" in targets:
            raise LocalError("'bad' is no host; write name or address, optionally :port")
        self.targets = [*([] if replace else self.targets), *targets]

    async def forget(self, targets: Sequence[str]) -> None:
        self.targets = [target for target in self.targets if target not in targets]

    async def takeover(self, peer: str) -> int:
        if peer == "crash":
            raise ZeroDivisionError("a secret")
        if peer not in ("h2", YOU):
            raise NotFound(f"no peer is called {peer}")
        return 42

    async def surrender(self) -> None:
        self.surrendered = True

    async def stop(self, *, wipe: bool) -> None:
        self.wiped = wipe
        self.stopped.set()

    async def prime(self) -> None:
        self.waiting.set()
        try:
            await self.primed.wait()
        except trio.Cancelled:
            self.cancelled.set()
            raise

    async def allocate(self, ident: str, subnet: IPNetwork | None) -> IPInterface:
        if self.the_report["IPAM"] is None:
            raise FeatureOff("this router manages no addresses")
        network = subnet or ip_network("10.32.0.0/12")
        for held in self.lookup(ident, subnet):
            return held
        taken = {str(item.ip) for items in self.held.values() for item in items}
        free = next(host for host in network.hosts() if str(host) not in taken)
        found = ip_interface(f"{free}/{network.prefixlen}")
        self.held.setdefault(ident, []).append(found)
        return found

    async def claim(self, ident: str, interface: IPInterface) -> None:
        for other, items in self.held.items():
            if other != ident and any(item.ip == interface.ip for item in items):
                raise Conflict(f"{interface.ip} is held by {other}")
        if interface not in self.held.setdefault(ident, []):
            self.held[ident].append(interface)

    async def release(self, ident: str, address: IPAddress | None) -> None:
        if ident not in self.held:
            raise NotFound(f"{ident} holds no address")
        self.held[ident] = [item for item in self.held[ident] if address is not None and item.ip != address]

    def lookup(self, ident: str, subnet: IPNetwork | None) -> Sequence[IPInterface]:
        return [item for item in self.held.get(ident, []) if subnet is None or item.ip in subnet]

    def owned(self) -> Mapping[str, Sequence[IPInterface]]:
        return self.held

    async def attach(self, spec: AttachSpec) -> Attachment:
        self.specs.append(spec)
        if str(spec.netns) == "/run/netns/broken":
            raise EnvironmentFailure("the kernel would not have it")
        addresses = tuple([await self._fulfil(spec.container, wish) for wish in spec.wishes])
        self.attached[spec.container] = Attachment(
            spec.container, spec.interface, spec.mac or "02:00:00:00:00:01", addresses, spec.mtu or 1450, spec.netns,
            None, spec.fqdns, spec.labels)
        return self.attached[spec.container]

    async def detach(self, spec: DetachSpec) -> Sequence[IPInterface]:
        self.attached.pop(spec.container, None)
        return self.held.pop(spec.container, [])

    def attachments(self) -> Sequence[Attachment]:
        return [self.attached[key] for key in sorted(self.attached)]

    async def cni(self, plugin: str, octets: bytes) -> tuple[int, str]:
        self.asked.append((plugin, octets))
        return 3, '{"code": 100}'

    async def endpoints(self, after: int | None) -> tuple[int, Sequence[EndpointReport]]:
        while after == self.generation:
            await trio.sleep_forever()
        return self.generation, self.the_report["Endpoints"]

    async def expose(self, wishes: Sequence[Wish], *, fqdn: str | None, masquerade: bool) -> Sequence[IPInterface]:
        self.masquerade = masquerade
        done = [await self._fulfil(EXPOSE, wish) for wish in wishes]
        if fqdn:
            self.names += [(EXPOSE, fqdn, item.ip) for item in done]
        return done

    async def hide(self, wishes: Sequence[Wish]) -> Sequence[IPInterface]:
        return self.held.pop(EXPOSE, [])

    async def _fulfil(self, ident: str, wish: Wish) -> IPInterface:
        match wish:
            case Exactly(interface):
                await self.claim(ident, interface)
                return interface
            case AnyIn(subnet):
                return await self.allocate(ident, subnet)

    async def name_service(self) -> IPAddress:
        return ip_address("10.32.0.1")

    async def add_name(self, container: str, fqdn: str, address: IPAddress) -> None:
        self.names.append((container, fqdn, address))

    async def remove_name(self, container: str | None, fqdn: str | None, address: IPAddress | None) -> None:
        wanted = (container, fqdn, address)
        self.names = [row for row in self.names
                      if any(want is not None and want != have for want, have in zip(wanted, row, strict=True))]

    def resolve(self, name: str) -> Sequence[IPAddress]:
        full = name if name.endswith(".") else f"{name}.weave.local."
        return [address for _, fqdn, address in self.names if fqdn == full]


REPORT: Report = {
    "Ready": True,
    "Version": "3.0.0",
    "Router": {
        "Protocol": "weave", "ProtocolMinVersion": 3, "ProtocolMaxVersion": 3, "Name": ME, "NickName": "h1", "UID": 1,
        "Port": 6783, "Encryption": True, "PeerDiscovery": True, "Targets": ["10.0.0.10", "10.0.0.9"],
        "TrustedSubnets": [], "TerminationCount": 3, "ConnLimit": 30,
        "Connections": [
            {"Address": "10.0.0.10:6783", "Outbound": True, "State": "failed",
             "Info": "connection refused, retry in 3 s", "Name": None, "NickName": None, "Attrs": {}},
            {"Address": "10.0.0.9:6783", "Outbound": True, "State": "established", "Info": "", "Name": YOU,
             "NickName": "h2", "Attrs": {"mtu": 1450, "encrypted": True, "mode": "vxlan", "name": "x"}},
        ],
        "Peers": [
            {"Name": YOU, "NickName": "h2", "UID": 2, "Version": 4, "Reachable": True, "Connections": [
                {"Name": ME, "NickName": "h1", "Address": "10.0.0.1:40000", "Outbound": False, "Established": True}]},
            {"Name": ME, "NickName": "h1", "UID": 1, "Version": 9, "Reachable": True, "Connections": [
                {"Name": YOU, "NickName": "h2", "Address": "10.0.0.9:6783", "Outbound": True, "Established": True}]},
        ],
        "UnicastRoutes": [{"Dest": YOU, "Via": YOU}], "BroadcastRoutes": [{"Source": ME, "Via": [YOU]}],
        "Refused": {"bad signature": 2}, "Warnings": [],
    },
    "IPAM": {
        "Status": "ready", "Range": "10.32.0.0/12", "RangeNumIPs": 1048576, "ActiveIPs": 2,
        "DefaultSubnet": "10.32.0.0/12", "Paxos": None,
        "Entries": [
            {"Token": "10.32.0.0", "Size": 524288, "Peer": ME, "Nickname": "h1", "IsKnownPeer": True, "Version": 1},
            {"Token": "10.40.0.0", "Size": 524288, "Peer": YOU, "Nickname": "h2", "IsKnownPeer": False, "Version": 1},
        ],
        "Owners": [
            {"Peer": YOU, "Nickname": "h2", "IPs": 524288, "Percent": 50.0, "Active": None, "Reachable": False},
            {"Peer": ME, "Nickname": "h1", "IPs": 524288, "Percent": 50.0, "Active": 2, "Reachable": True},
        ],
        "PendingAllocates": [], "PendingClaims": [], "Conflicts": [],
    },
    "IPAM6": None,
    "DNS": {
        "Domain": "weave.local.", "Upstream": ["192.0.2.53"], "Address": "10.32.0.1:53", "TTL": 1,
        "Entries": [
            {"Hostname": "c2.weave.local.", "Origin": YOU, "ContainerID": "beef" * 16, "Address": "10.40.0.1",
             "Reachable": False},
            {"Hostname": "c1.weave.local.", "Origin": ME, "ContainerID": "c0ffee", "Address": "10.32.0.10",
             "Reachable": True},
            {"Hostname": "c1.weave.local.", "Origin": ME, "ContainerID": "c0ffee", "Address": "10.32.0.9",
             "Reachable": True},
        ],
        "Counters": {"queries": 5},
    },
    "Endpoints": [
        {"MAC": "02:00:00:00:00:02", "Addresses": ["10.40.0.1/12"], "ContainerID": "beef" * 16, "Interface": "eth0",
         "Peer": YOU, "NickName": "h2", "Local": False, "Labels": {}},
        {"MAC": "02:00:00:00:00:01", "Addresses": ["10.32.0.9/12", "10.32.0.10/12"], "ContainerID": "c0ffee",
         "Interface": "ethwe", "Peer": ME, "NickName": "h1", "Local": True,
         "Labels": {"app": "web"}},
    ],
    "Links": [{"Peer": YOU, "NickName": "h2", "Mode": "vxlan", "Address": "10.0.0.9", "MTU": 1450, "Reason": "",
               "Quality": None}],
    "Bridge": {"Name": "weave", "MAC": "7a:00:00:00:00:01", "MTU": 1450, "MTUReason": "",
               "Addresses": ["10.32.0.1/12"]},
}
C1 = ip_address("10.32.0.9")
