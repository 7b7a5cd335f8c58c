"""The figures of GET /metrics."""

import re

import pytest

from tests.unit.api.fake import FakeControl, report
from weave.api.app import Statistics
from weave.api.metrics import exposition
from weave.api.samples import Distribution, Figure, Kind, Latencies, Sample


def lines(control: FakeControl | None = None, *own: Figure) -> list[str]:
    return exposition(control or FakeControl(), own).splitlines()


@pytest.mark.parametrize("line", [
    'weave_connections{encryption="yes",state="established",type="vxlan"} 1.0',
    'weave_connections{encryption="",state="failed",type=""} 1.0',
    "weave_connection_terminations_total 3.0",
    'weave_ips{state="local-used"} 2.0',
    "weave_max_ips 1.048576e+06",
    "weave_dns_entries 2.0",
    "weave_ipam_unreachable_count 1.0",
    "weave_ipam_unreachable_percentage 50.0",
    "weave_ipam_pending_allocates 0.0",
    "weave_ipam_pending_claims 0.0",
    'weave_peers{reachable="true"} 2.0',
    'weave_links{mode="vxlan"} 1.0',
    'weave_refused_total{reason="bad signature"} 2.0',
    'weave_gossip_sent_bytes_total{channel="ipam"} 7.0',
    "# TYPE weave_connection_terminations_total counter",
])
def test_figure(line: str) -> None:
    assert line in lines()


def test_services_that_are_off_have_no_figures() -> None:
    text = "\n".join(lines(FakeControl(the_report=report(IPAM=None, DNS=None))))
    assert "weave_ready" in text
    assert not re.search("weave_ip|weave_dns|weave_max_ips", text)


def test_process_figures_are_there() -> None:
    assert any(line.startswith("process_resident_memory_bytes ") for line in lines())


def test_latencies_are_cumulative() -> None:
    latencies = Latencies(bounds=(0.1, 1.0))
    for seconds in (0.05, 0.1, 0.5, 7.0):
        latencies.observe(seconds)
    own = Distribution("weave_x_seconds", "X.", latencies, (("path", "/x"),))
    assert [line for line in lines(None, own) if line.startswith("weave_x_seconds")] == [
        'weave_x_seconds_bucket{le="0.1",path="/x"} 2.0',
        'weave_x_seconds_bucket{le="1.0",path="/x"} 3.0',
        'weave_x_seconds_bucket{le="+Inf",path="/x"} 4.0',
        'weave_x_seconds_count{path="/x"} 4.0',
        'weave_x_seconds_sum{path="/x"} 7.65',
    ]


def test_labels_are_escaped() -> None:
    sample = Sample("weave_x", "X.", Kind.GAUGE, 1, (("peer", 'a"b\n'),))
    assert 'weave_x{peer="a\\"b\\n"} 1.0' in lines(None, sample)


def test_api_counts_requests_by_route() -> None:
    statistics = Statistics()
    statistics.count("GET", "/ip/{ident}", 200, 0.002)
    statistics.count("GET", "/ip/{ident}", 404, 0.002)
    text = lines(None, *statistics.figures())
    assert 'weave_api_requests_total{method="GET",path="/ip/{ident}",status="404"} 1.0' in text
    assert 'weave_api_request_duration_seconds_count{method="GET",path="/ip/{ident}"} 2.0' in text
