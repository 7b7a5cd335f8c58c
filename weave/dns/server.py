"""The name server of one router: sockets on the addresses it is told to listen at, and what stands behind them.

The bridge gets its address long after the router started, and may get others: `listen` states the wanted addresses
at any time, and the server comes to serve them, trying again where one cannot be bound yet. It holds no policy: the
responder decides the replies, the upstream resolves what is not ours.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random, SystemRandom

import trio

from weave.addresses import IPAddress, IPNetwork
from weave.dns.catalogue import Catalogue
from weave.dns.limits import MAX_FORWARDED
from weave.dns.relay import servfail
from weave.dns.responder import Forward, Responder
from weave.dns.site import Site, Sockets
from weave.dns.tcp import TcpListener
from weave.dns.udp import SendReply, UdpListener
from weave.dns.upstream import Upstream
from weave.logs import fields

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsConfig:
    """What an operator can choose."""

    port: int = 53
    clients: tuple[IPNetwork, ...] = ()
    """Source addresses that are served, beside this machine's own; all others are refused."""
    resolv_conf: Path = Path("/etc/resolv.conf")
    upstream_port: int = 53


class DnsServer:
    """The name service of this host."""

    def __init__(
        self,
        catalogue: Catalogue,
        config: DnsConfig,
        *,
        on_problem: Callable[[IPAddress, str | None], None] = lambda _address, _problem: None,
        rng: Random | None = None,
    ) -> None:
        """`on_problem` hears in a sentence why an address cannot be served, and None when it can again."""
        self._catalogue = catalogue
        self._config = config
        self._on_problem = on_problem
        self._responder = Responder(catalogue, clients=config.clients)
        self._upstream = Upstream(config.resolv_conf, rng or SystemRandom(), port=config.upstream_port)
        self._wanted: tuple[IPAddress, ...] = ()
        self._changed = trio.Event()
        self._sites: dict[IPAddress, Site] = {}
        self._waiting = 0
        """Forwarded datagrams whose reply is out."""
        self._drops: Counter[str] = Counter()
        self._connections: set[trio.SocketStream] = set()

    # --- what others tell it ------------------------------------------------------------------------------------

    def listen(self, addresses: Sequence[IPAddress]) -> None:
        """Serve at exactly these addresses from now on."""
        self._wanted = tuple(sorted(set(addresses), key=lambda a: (a.version, a)))
        self._upstream.avoid({str(address) for address in self._wanted})
        self._catalogue.serve_at(self._wanted)
        self._changed.set()

    def serve(self, clients: Sequence[IPNetwork]) -> None:
        """Serve clients with these source addresses from now on, and those on this machine."""
        self._responder.serve(clients)

    # --- what it tells others -----------------------------------------------------------------------------------

    @property
    def bound(self) -> Mapping[IPAddress, int]:
        """Return the addresses that are served now, with their ports."""
        ports = {address: site.bound_port for address, site in self._sites.items()}
        return {address: port for address, port in ports.items() if port is not None}

    @property
    def problems(self) -> list[str]:
        """Return, in sentences, why some addresses are not served."""
        return [site.problem for site in self._sites.values() if site.problem is not None]

    @property
    def upstreams(self) -> tuple[str, ...]:
        """Return the addresses of the servers that are asked what is not ours."""
        return self._upstream.servers

    def counters(self) -> dict[str, int]:
        """Return what happened so far, by plain names."""
        counts = self._responder.counts
        totals: Counter[str] = Counter()
        for (qtype, rcode), number in counts.items():
            totals["queries"] += number
            totals[f"queries_{qtype}"] += number
            totals[f"replies_{rcode}"] += number
        totals["prebuilt"] = self._responder.prebuilt_hits
        totals["ignored"] = self._responder.ignored.total()
        totals["refused_entries"] = self._catalogue.refused.total()
        totals["upstream_latency_ms"] = int(self._upstream.latency_s * 1000)
        totals.update(self._upstream.counts)
        totals.update({f"dropped_{what}": number for what, number in self._drops.items()})
        return dict(sorted(totals.items()))

    # --- its life -----------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; ready as soon as every address wanted by now has been tried."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._upstream.run)
            self._follow(nursery)
            task_status.started()
            while True:
                await self._changed.wait()
                self._follow(nursery)

    def _follow(self, nursery: trio.Nursery) -> None:
        """Start to serve what is wanted and not served, stop what is served and not wanted."""
        self._changed = trio.Event()
        for address in sorted(set(self._sites) - set(self._wanted), key=str):
            self._sites.pop(address).stop()
        for address in self._wanted:
            if address in self._sites:
                continue
            site = Site(
                address, self._config.port, serve=partial(self._serve, nursery), on_problem=self._note_problem
            )
            self._sites[address] = site
            site.bind()
            nursery.start_soon(site.run)

    async def _serve(self, forwards: trio.Nursery, sockets: Sockets) -> None:
        """Serve one pair of sockets; what it forwards by datagram lives in `forwards`."""

        def on_forward(forward: Forward, send: SendReply) -> None:
            self._forward_datagram(forwards, forward, send)

        udp = UdpListener(sockets.udp, self._responder, on_forward, self._drops)
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(sockets.tcp))
        tcp = TcpListener(listener, self._responder, self._resolve, drops=self._drops, active=self._connections)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(udp.run)
            nursery.start_soon(tcp.run)

    def _forward_datagram(self, nursery: trio.Nursery, forward: Forward, send: SendReply) -> None:
        known = self._upstream.cached(forward.query, forward.limit)
        if known is not None:
            send(known)
        elif self._waiting >= MAX_FORWARDED:
            self._drops["forwarded"] += 1
            send(servfail(forward.query))
        else:
            self._waiting += 1
            nursery.start_soon(self._resolve_datagram, forward, send)

    async def _resolve_datagram(self, forward: Forward, send: SendReply) -> None:
        try:
            send(await self._upstream.resolve(forward.query, forward.limit))
        finally:
            self._waiting -= 1

    async def _resolve(self, forward: Forward) -> bytes:
        known = self._upstream.cached(forward.query, forward.limit)
        return known if known is not None else await self._upstream.resolve(forward.query, forward.limit)

    def _note_problem(self, address: IPAddress, problem: str | None) -> None:
        if problem is None:
            log.info("names served again", extra=fields(address=address))
        else:
            log.warning("names not served", extra=fields(address=address, reason=problem))
        self._on_problem(address, problem)
