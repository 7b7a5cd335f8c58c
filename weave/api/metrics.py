"""Figures in Prometheus' text format: Weave Net's names where they fit, and what it was missing.

Everything is computed when it is asked for, from the report and from what the parts count; nothing here keeps state.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from weave.api.control import Control
from weave.api.report import DnsReport, IpamReport, Report
from weave.api.samples import Distribution, Figure, Kind, Latencies, Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Figures(Collector):
    """Hand figures to the library that writes the format."""

    def __init__(self, figures: Iterable[Figure]) -> None:
        self._by_name: dict[str, list[Figure]] = defaultdict(list)
        for figure in figures:
            self._by_name[figure.name].append(figure)

    def collect(self) -> Iterator[Metric]:
        """Yield one family per name."""
        for name in sorted(self._by_name):
            yield _family(name, self._by_name[name])


def exposition(control: Control, own: Sequence[Figure]) -> str:
    """Return all figures as text; `own` are those of the API itself."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures([*report_samples(control.report()), *control.figures(), *own]))
    ProcessCollector(registry=registry)
    return generate_latest(registry).decode("utf-8")


def _family(name: str, figures: Sequence[Figure]) -> Metric:
    first = figures[0]
    labels = [key for key, _ in first.labels]
    if isinstance(first, Distribution):
        histogram = HistogramMetricFamily(name, first.help, labels=labels)
        for figure in figures:
            assert isinstance(figure, Distribution)
            histogram.add_metric([value for _, value in figure.labels], _buckets(figure.latencies),
                                 figure.latencies.total_s)
        return histogram
    kind = CounterMetricFamily if first.kind is Kind.COUNTER else GaugeMetricFamily
    family = kind(name, first.help, labels=labels)
    for figure in figures:
        assert isinstance(figure, Sample)
        family.add_metric([value for _, value in figure.labels], figure.value)
    return family


def _buckets(latencies: Latencies) -> list[tuple[str, float]]:
    """Return cumulative counts, as the format wants them."""
    total = 0
    buckets: list[tuple[str, float]] = []
    for bound, count in zip([*map(str, latencies.bounds), "+Inf"], latencies.counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets


def report_samples(report: Report) -> list[Sample]:
    """Return the figures that the report holds."""
    return [
        _gauge("weave_ready", "1 once peers can connect and containers can be attached.", report["Ready"]),
        _gauge("weave_build_info", "Version of this router.", 1, version=report["Version"]),
        *_mesh_samples(report),
        *(_ipam_samples(report["IPAM"]) if report["IPAM"] is not None else ()),
        *(_second_ring(report["IPAM6"]) if report["IPAM6"] is not None else ()),
        *(_dns_samples(report["DNS"], report["Router"]["Name"]) if report["DNS"] is not None else ()),
        *_network_samples(report),
    ]


def _mesh_samples(report: Report) -> Iterator[Sample]:
    router = report["Router"]
    connections = Counter(
        (connection["State"], str(connection["Attrs"].get("mode", "")),
         "yes" if connection["Attrs"].get("encrypted") else "")
        for connection in router["Connections"]
    )
    for (state, mode, encryption), count in sorted(connections.items()):
        yield _gauge("weave_connections", "Connections to peers and targets.", count, state=state, type=mode,
                     encryption=encryption)
    yield _counter("weave_connection_terminations_total", "Connections that ended.", router["TerminationCount"])
    reachable = Counter(str(peer["Reachable"]).lower() for peer in router["Peers"])
    for word in ("false", "true"):
        yield _gauge("weave_peers", "Peers known, ourselves included.", reachable[word], reachable=word)
    for reason, count in sorted(router["Refused"].items()):
        yield _counter("weave_refused_total", "Records and handshakes refused.", count, reason=reason)
    yield _gauge("weave_warnings", "Things that `weave status` warns of.", len(router["Warnings"]))


def _ipam_samples(ipam: IpamReport) -> Iterator[Sample]:
    lost = [owner for owner in ipam["Owners"] if not owner["Reachable"]]
    yield _gauge("weave_ips", "Addresses in use on this host.", ipam["ActiveIPs"], state="local-used")
    yield _gauge("weave_max_ips", "Addresses in the range.", ipam["RangeNumIPs"])
    yield _gauge("weave_ipam_unreachable_count", "Unreachable peers that own addresses.", len(lost))
    yield _gauge("weave_ipam_unreachable_percentage", "Share of the range that unreachable peers own.",
                 sum(owner["Percent"] for owner in lost))
    yield _gauge("weave_ipam_owned_ips", "Addresses that this peer owns.",
                 sum(owner["IPs"] for owner in ipam["Owners"] if owner["Active"] is not None))
    yield _gauge("weave_ipam_ranges", "Ranges in the ring.", len(ipam["Entries"]))
    yield _gauge("weave_ipam_conflicts", "Ranges that two views disagree on.", len(ipam["Conflicts"]))
    yield _gauge("weave_ipam_pending_allocates", "Requests that wait for an address.", len(ipam["PendingAllocates"]))
    yield _gauge("weave_ipam_pending_claims", "Claims that wait for consent.", len(ipam["PendingClaims"]))


def _second_ring(ipam: IpamReport) -> Iterator[Sample]:
    for sample in _ipam_samples(ipam):
        yield replace(sample, labels=(*sample.labels, ("family", "6")))


def _dns_samples(dns: DnsReport, me: str) -> Iterator[Sample]:
    own = sum(entry["Origin"] == me for entry in dns["Entries"])
    yield _gauge("weave_dns_entries", "Names registered on this host.", own)
    yield _gauge("weave_dns_entries_cluster", "Names registered anywhere.", len(dns["Entries"]))
    for key, count in sorted(dns["Counters"].items()):
        word = re.sub(r"[^a-z0-9]+", "_", key.lower()).strip("_")
        yield _counter(f"weave_dns_{word}_total", f"Name service: {key}.", count)


def _network_samples(report: Report) -> Iterator[Sample]:
    for mode, count in sorted(Counter(link["Mode"] for link in report["Links"]).items()):
        yield _gauge("weave_links", "Data links to peers.", count, mode=mode)
    local = sum(endpoint["Local"] for endpoint in report["Endpoints"])
    yield _gauge("weave_endpoints", "Container interfaces on the network.", local, origin="local")
    yield _gauge("weave_endpoints", "Container interfaces on the network.", len(report["Endpoints"]) - local,
                 origin="remote")
    yield _gauge("weave_bridge_mtu_bytes", "MTU of the bridge.", report["Bridge"]["MTU"])


def _gauge(name: str, text: str, value: float, **labels: str) -> Sample:
    return Sample(name, text, Kind.GAUGE, float(value), tuple(labels.items()))


def _counter(name: str, text: str, value: float, **labels: str) -> Sample:
    return Sample(name, text, Kind.COUNTER, float(value), tuple(labels.items()))
