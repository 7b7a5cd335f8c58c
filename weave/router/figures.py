"""Counters and gauges of the parts, named for Prometheus; what the report holds is named by the API itself."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from weave.api.samples import Figure, Kind, Sample

if TYPE_CHECKING:
    from weave.router.router import Parts


KERNEL = {
    "attached_total": "Containers put on the bridge.",
    "detached_total": "Containers taken off the bridge.",
    "netlink_messages_total": "Changes asked of the kernel.",
    "netlink_refused_total": "Changes that the kernel refused.",
    "forwarding_resyncs_total": "Times that forwarding entries were read anew.",
    "device_steps_total": "Changes to the bridge and the devices that lead to other hosts.",
    "firewall_changes_total": "Changes to our nftables tables.",
    "guard_dropped_total": "VXLAN of strangers and of containers that was dropped, in packets, as of the last look.",
    "source_guard_dropped_total": "Frames from a MAC or address of another that were dropped, as of the last look.",
    "remote_endpoints": "Interfaces on other hosts that the kernel knows the way to.",
    "remote_hosts": "Hosts that get broadcasts.",
    "pruned_groups": "Multicast groups that go only to the hosts with members.",
    "neighbours": "Addresses for which the bridge answers ARP and ND.",
}
"""What is counted of the kernel's side, and what it means."""


def figures(parts: "Parts") -> list[Figure]:
    """Return what the parts of a running router count."""
    return [*_gossip(parts), *_links(parts), *_sleeve(parts), *_refusals(parts), *_kernel(parts)]


def _gossip(parts: "Parts") -> Iterator[Sample]:
    for view in parts.mesh.core.counters():
        labels = (("channel", view.channel),)
        yield Sample("weave_gossip_entries", "Entries held of a gossip channel.", Kind.GAUGE, view.entries, labels)
        yield Sample("weave_gossip_merges_total", "Entries that were new to us.", Kind.COUNTER, view.merges, labels)
        yield Sample("weave_gossip_sent_bytes_total", "Octets of gossip sent.", Kind.COUNTER, view.sent_bytes, labels)


def _links(parts: "Parts") -> Iterator[Sample]:
    for view in parts.mesh.core.connections():
        link = parts.mesh.link(view.conn)
        labels = (("peer", view.peer), ("nickname", view.nickname))
        if view.rtt_s is not None:
            yield Sample("weave_connection_rtt_seconds", "Round trip of heartbeats.", Kind.GAUGE, view.rtt_s, labels)
        if link is not None:
            yield Sample("weave_connection_sent_bytes_total", "Octets sent on control connections that are up.",
                         Kind.COUNTER, link.sent_bytes, labels)
            yield Sample("weave_connection_received_bytes_total", "Octets received on control connections that are up.",
                         Kind.COUNTER, link.received_bytes, labels)


def _sleeve(parts: "Parts") -> Iterator[Sample]:
    for name, way in sorted(parts.sleeve.statuses.items()):
        labels = (("peer", name),)
        if way.rtt_s is not None:
            yield Sample("weave_sleeve_rtt_seconds", "Round trip of an encrypted way.", Kind.GAUGE, way.rtt_s, labels)
        yield Sample("weave_sleeve_loss_ratio", "Share of lost probes of an encrypted way.", Kind.GAUGE, way.loss,
                     labels)
        yield Sample("weave_sleeve_sent_bytes_total", "Octets of containers' frames sent.", Kind.COUNTER, way.sent,
                     labels)
        yield Sample("weave_sleeve_received_bytes_total", "Octets of containers' frames received.", Kind.COUNTER,
                     way.received, labels)
    for event, count in sorted(parts.sleeve.counters.items()):
        yield Sample("weave_sleeve_events_total", "What the sleeve dropped, refused, asked for or sent again.",
                     Kind.COUNTER, count, (("event", event),))
    yield Sample("weave_sleeve_starts_total", "Sleeves that this router started.", Kind.COUNTER, parts.sleeve.starts)


def _refusals(parts: "Parts") -> Iterator[Sample]:
    for reason, count in sorted(parts.mesh.handshake_failures.items()):
        yield Sample("weave_handshake_failures_total", "Connections that ended before they began.", Kind.COUNTER,
                     count, (("reason", reason),))


def _kernel(parts: "Parts") -> Iterator[Sample]:
    counters = parts.datapath.counters()
    for name, text in KERNEL.items():
        kind = Kind.COUNTER if name.endswith("_total") else Kind.GAUGE
        yield Sample(f"weave_{name}", text, kind, counters[name])
