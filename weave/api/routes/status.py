"""What a router says of itself: the report, its parts as text or JSON, the metrics."""

from weave.api.arguments import Call
from weave.api.errors import FeatureOff, NotFound
from weave.api.operations import WAIT_DEADLINE_S, Field, Operation, Shape
from weave.api.render import PARTS, part_of, render_overview, render_part
from weave.api.replies import Reply
from weave.api.trace import render_trace


async def _report(call: Call) -> Reply:
    return Reply(value=call.control.report())


async def _overview(call: Call) -> Reply:
    report = call.control.report()
    return Reply(render_overview(report), report, status=200 if call.control.ready else 503)


async def _part(call: Call) -> Reply:
    name = call.path["part"]
    if name not in PARTS:
        raise NotFound(f"there is no part {name!r} of the status; there are {', '.join(PARTS)}")
    report = call.control.report()
    value = part_of(report, name)
    if value is None:
        raise FeatureOff(f"this router runs without {PARTS[name].service}")
    return Reply(render_part(report, name), value, status=200 if call.control.ready else 503)


async def _trace(call: Call) -> Reply:
    source, destination = call.text("from"), call.text("to")
    assert source is not None
    assert destination is not None
    trace = await call.control.trace(source, destination)
    return Reply(render_trace(trace), trace)


async def _metrics(call: Call) -> Reply:
    # Loaded when it is first asked for: what writes the format is large, and not every router is asked.
    from weave.api.metrics import CONTENT_TYPE, exposition
    return Reply(exposition(call.control, call.figures()), content_type=CONTENT_TYPE)


_END = "An address, a name, a container's id or its beginning, NAMESPACE/POD, a peer, or `host` for the one asked."
OPERATIONS = (
    Operation("GET", "/report", "Everything this router knows of itself", _report, "the report", subject="status",
              is_public=True),
    Operation("GET", "/status", "An overview", _overview,
              "the overview as text, or the report as JSON; 503 with the same body until the router is ready",
              subject="status", is_public=True),
    Operation("GET", "/status/{part}", "One part of the status", _part,
              "the part as text, or as JSON; 503 with the same body until the router is ready",
              subject="status", is_public=True),
    Operation("GET", "/trace", "What becomes of a packet from one end to another", _trace,
              "the legs of its way, there and back, as text or as JSON", subject="status", deadline_s=WAIT_DEADLINE_S,
              waits=True, fields=(
                  Field("from", Shape.TEXT, f"{_END} It must be on the network.", "10.32.0.1", required=True),
                  Field("to", Shape.TEXT, _END, "web.weave.local", required=True))),
    Operation("GET", "/metrics", "Figures for Prometheus", _metrics, "metrics in Prometheus' text format",
              subject="status", is_public=True),
)
