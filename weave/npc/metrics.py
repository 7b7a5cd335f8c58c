"""Figures of the policy controller in Prometheus' text format: Weave Net's names where they fit, and what it lacked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from weave.npc.service import Controller

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True, eq=False)
class _Figures(Collector):
    """Read the controller when asked."""

    controller: Controller
    dropped: Mapping[str, int]
    """Packets by the kernel's counter."""

    def collect(self) -> Iterator[Metric]:
        """Yield one family per name."""
        controller, done = self.controller, self.controller.enforcer.figures
        blocked = CounterMetricFamily("weavenpc_blocked_connections", "Refused packets that the kernel reported, at a "
                                      "bounded rate.", labels=["protocol", "dport"])
        for where, count in sorted(controller.blocked.items()):
            blocked.add_metric(where, count)
        yield blocked
        dropped = CounterMetricFamily("weavenpc_dropped_packets", "Packets that policy dropped, by where.",
                                      labels=["where"])
        for name, count in sorted(self.dropped.items()):
            dropped.add_metric([name], count)
        yield dropped
        yield CounterMetricFamily("weavenpc_policy_enforcement_errors", "Changes of the kernel's rules that failed.",
                                  value=done.errors)
        yield CounterMetricFamily("weavenpc_repairs", "Times that somebody else had changed our rules.",
                                  value=done.repairs)
        changes = CounterMetricFamily("weavenpc_changes", "Changes of the kernel's rules.", labels=["kind"])
        for kind, count in (("full", done.full_loads), ("structural", done.structural_changes),
                            ("elements", done.element_changes)):
            changes.add_metric([kind], count)
        yield changes
        yield GaugeMetricFamily("weavenpc_ready", "1 while the kernel holds what the policies say.",
                                value=controller.is_ready)
        yield GaugeMetricFamily("weavenpc_problems", "Objects not understood in full, files not read.",
                                value=sum(1 for _ in controller.holdings.problems()))
        yield GaugeMetricFamily("weavenpc_compile_seconds", "Time of the last compilation.",
                                value=controller.times.compile_s)
        yield GaugeMetricFamily("weavenpc_enforce_seconds", "Time of the last change of the kernel.",
                                value=controller.times.enforce_s)


def exposition(controller: Controller, dropped: Mapping[str, int]) -> str:
    """Return all figures as text."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(controller, dropped))
    ProcessCollector(registry=registry)
    return generate_latest(registry).decode("utf-8")
