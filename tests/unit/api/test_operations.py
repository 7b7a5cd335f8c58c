"""Every operation, asked of the application itself."""

from typing import Any

import pytest
import trio
import trio.testing

from tests.unit.api.fake import C1, FakeControl, report
from tests.unit.api.harness import ask, ask_app
from weave.addresses import parse_interface
from weave.api.routes import OPERATIONS

C1_12 = parse_interface("10.32.0.9/12")


def holding() -> FakeControl:
    return FakeControl(held={"c1": [C1_12]}, names=[("c1", "c1.weave.local.", C1)])


CASES: list[tuple[str, str, object, int, str]] = [
    ("GET", "/report", None, 200, '{"Ready": true'),
    ("GET", "/status", None, 200, "        Version: 3.0.0"),
    ("GET", "/status/targets", None, 200, "10.0.0.9\n10.0.0.10\n"),
    ("GET", "/status/nothing", None, 404, "there is no part"),
    ("GET", "/metrics", None, 200, "weave_ready 1.0"),
    ("GET", "/trace?from=c1&to=c2", None, 200, "Nothing is in the way."),
    ("GET", "/trace?from=c1&to=c3", None, 200, "In the way: h2, container."),
    ("GET", "/trace?from=c1", None, 400, "GET /trace needs to"),
    ("GET", "/openapi.json", None, 200, '"openapi": "3.1.0"'),
    ("POST", "/connect", {"peer": ["h9"]}, 204, ""),
    ("POST", "/connect", {"peer": ["bad"]}, 400, "'bad' is no host"),
    ("POST", "/forget", {"peer": ["h9"]}, 204, ""),
    ("POST", "/forget", {}, 400, "POST /forget needs peer"),
    ("DELETE", "/peer", None, 204, ""),
    ("DELETE", "/peer/h2", None, 200, "42 IPs taken over from h2"),
    ("DELETE", "/peer/h3", None, 404, "no peer is called h3"),
    ("DELETE", "/peer/crash", None, 500, "its log says why"),
    ("POST", "/stop", None, 204, ""),
    ("GET", "/ip", None, 200, '"addrs": ["10.32.0.9/12"]'),
    ("GET", "/ip/c1", None, 200, "10.32.0.9/12"),
    ("GET", "/ip/c1/10.32.0.0/16", None, 200, "10.32.0.9/12"),
    ("GET", "/ip/c1/10.33.0.0/16", None, 404, "c1 holds no address in 10.33.0.0/16"),
    ("GET", "/ip/c2", None, 404, "c2 holds no address"),
    ("GET", "/ip/c1/10.32.0.0/33", None, 400, "not a subnet"),
    ("POST", "/ip/c2", None, 200, "10.32.0.1/12"),
    ("POST", "/ip/c1?check-alive=true", None, 200, "10.32.0.9/12"),
    ("POST", "/ip/c1/10.40.0.0/24", None, 200, "10.40.0.1/24"),
    ("PUT", "/ip/c2/10.32.0.8/12", None, 204, ""),
    ("PUT", "/ip/c2/10.32.0.9/12", None, 409, "10.32.0.9 is held by c1"),
    ("PUT", "/ip/c2/fd00::1/64", None, 204, ""),
    ("DELETE", "/ip/c1", None, 204, ""),
    ("DELETE", "/ip/c1/10.32.0.9", None, 204, ""),
    ("DELETE", "/ip/c1/10.32.0", None, 400, "'10.32.0' is not an IP address"),
    ("DELETE", "/ip/c2", None, 404, "c2 holds no address"),
    ("GET", "/ring", None, 204, ""),
    ("GET", "/ipinfo/defaultsubnet", None, 200, "10.32.0.0/12"),
    ("GET", "/attachments", None, 200, "[]"),
    ("GET", "/attachment/c1", None, 404, "c1 is not attached on this host"),
    ("PUT", "/attachment/c2", {"pid": 7}, 200, '"netns": "/proc/7/ns/net"'),
    ("PUT", "/attachment/c2", {"netns": "/run/netns/x", "interface": "eth0", "mtu": 1400, "mac": "02:42:AC:11:00:02"},
     200, '"mac": "02:42:ac:11:00:02"'),
    ("PUT", "/attachment/c2", {"pid": 7, "labels": ["app=web"]}, 200, '"labels": {"app": "web"}'),
    ("PUT", "/attachment/c2", {"pid": 7, "labels": ["app"]}, 400, "write it like app=web"),
    ("POST", "/cni/weave-net", {"any": "octets"}, 200, '3\n{"code": 100}'),
    ("GET", "/endpoints", None, 200, '"generation": 7'),
    ("GET", "/endpoints?after=6", None, 200, '"labels": {"app": "web"}'),
    ("GET", "/endpoints?after=-1", None, 400, "number"),
    ("PUT", "/attachment/c2", {}, 400, "say where the container is"),
    ("PUT", "/attachment/c2", {"pid": 7, "netns": "/x"}, 400, "say where the container is"),
    ("PUT", "/attachment/c2", {"netns": "x"}, 400, "absolute path"),
    ("PUT", "/attachment/c2", {"pid": 7, "interface": "a/b"}, 400, "no name for an interface"),
    ("PUT", "/attachment/c2", {"pid": 7, "interface": ".."}, 400, "no name for an interface"),
    ("PUT", "/attachment/c2", {"pid": 7, "mac": "01:00:5e:00:00:01"}, 400, "not a unicast MAC"),
    ("PUT", "/attachment/c2", {"pid": 7, "mtu": 68}, 400, "'mtu' should be from 576 to 65535"),
    ("PUT", "/attachment/c2", {"pid": 7, "addresses": ["10.32.0.9/12"]}, 409, "held by c1"),
    ("PUT", "/attachment/c2", {"pid": 7, "addresses": ["10.32.0.9"]}, 400, "not an address argument"),
    ("PUT", "/attachment/c2", {"netns": "/run/netns/broken"}, 503, "the kernel would not have it"),
    ("DELETE", "/attachment/c1?addresses=net:default", None, 200, "10.32.0.9"),
    ("DELETE", "/attachment/c9", None, 200, ""),
    ("POST", "/expose", None, 200, "10.32.0.1"),
    ("POST", "/expose", {"addresses": ["10.32.0.5/12", "net:10.40.0.0/24"], "fqdn": "h1"}, 200, "10.32.0.5 10.40.0.1"),
    ("POST", "/expose/10.32.0.5/12?skipNAT=true", None, 204, ""),
    ("DELETE", "/expose", None, 200, ""),
    ("GET", "/domain", None, 200, "weave.local."),
    ("GET", "/dns-address", None, 200, "10.32.0.1"),
    ("POST", "/dns-address", None, 200, "10.32.0.1"),
    ("GET", "/dns-address-port", None, 200, "10.32.0.1:53"),
    ("GET", "/name", None, 200, '"Hostname": "c2.weave.local."'),
    ("GET", "/lookup/c1", None, 200, "10.32.0.9\n"),
    ("GET", "/lookup/c7", None, 404, "no address is known for c7"),
    ("PUT", "/name/c1/10.32.0.9?fqdn=c1.weave.local.", None, 204, ""),
    ("PUT", "/name/c1/10.32.0.9", None, 400, "needs fqdn"),
    ("DELETE", "/name/c1/10.32.0.9", None, 204, ""),
    ("DELETE", "/name/c1", None, 204, ""),
    ("DELETE", "/name?fqdn=c1.weave.local.", None, 204, ""),
    ("GET", "/nowhere", None, 404, "there is nothing at /nowhere"),
    ("GET", "/status/", None, 404, "there is nothing at /status/"),
    ("GET", "/connect", None, 405, "/connect takes POST, not GET"),
    ("PATCH", "/ip/c1", None, 405, "/ip/c1 takes DELETE, GET, POST, not PATCH"),
]


@pytest.mark.parametrize(("method", "target", "body", "status", "text"), CASES)
def test_operation_answers(method: str, target: str, body: object, status: int, text: str) -> None:
    control = holding()

    async def main() -> Any:
        control.primed.set()
        return await ask_app(control, method, target, body)

    said = trio.run(main)
    assert (said.status, text in said.text) == (status, True), said.text
    if status >= 400:
        assert set(said.json) == {"error", "reason"}


def test_every_operation_is_in_the_table_above() -> None:
    import re

    asked = [(method, target.partition("?")[0]) for method, target, *_ in CASES]
    for operation in OPERATIONS:
        pattern = re.sub(r"{\w+}", "[^/]+", operation.path)
        assert any(method == operation.method and re.fullmatch(pattern, path) for method, path in asked), operation.path


@pytest.mark.parametrize(("target", "service", "reason"), [
    ("/status/ipam", "IPAM", "off"), ("/ipinfo/defaultsubnet", "IPAM", "off"),
    ("/status/dns", "DNS", "off"), ("/domain", "DNS", "off"), ("/lookup/c1", "DNS", "off"),
])
def test_service_that_is_off_is_404(target: str, service: str, reason: str) -> None:
    said = ask("GET", target, control=FakeControl(the_report=report(**{service: None})))
    assert (said.status, said.json["reason"]) == (404, reason)


def test_json_where_it_is_asked_for() -> None:
    said = ask("GET", "/status/links", accept="application/json")
    assert said.json[0]["Mode"] == "vxlan"
    assert ask("POST", "/ip/c1", accept="application/json").json == {"address": "10.32.0.1/12"}


@pytest.mark.parametrize("target", ["/status", "/status/peers"])
def test_status_is_503_with_its_body_until_ready(target: str) -> None:
    said = ask("GET", target, control=FakeControl(ready=False))
    assert said.status == 503
    assert "h1" in said.text


def test_form_and_query_do_as_well_as_json() -> None:
    control = FakeControl(targets=["old"])
    ask("POST", "/connect?replace", b"peer=a&peer=b%3A1", control=control, kind="application/x-www-form-urlencoded")
    assert control.targets == ["a", "b:1"]


def test_error_nobody_foresaw_tells_nothing_of_its_inside(caplog: pytest.LogCaptureFixture) -> None:
    said = ask("DELETE", "/peer/crash")
    assert "secret" not in said.text
    assert "a secret" in caplog.text


def test_deadline_is_504() -> None:
    said = ask("GET", "/ring?timeout=1", control=FakeControl())
    assert (said.status, said.json["reason"]) == (504, "deadline")


def test_waiting_ends_when_the_client_hangs_up() -> None:
    async def main() -> None:
        control, hang_up = FakeControl(), trio.Event()
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: ask_app(control, "GET", "/ring", hang_up=hang_up))
                await trio.testing.wait_all_tasks_blocked()
                hang_up.set()
        assert control.cancelled.is_set()

    trio.run(main)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda op: f"{op.method} {op.path}")
def test_public_port_has_only_what_reads(operation: Any) -> None:
    path = operation.path.replace("{part}", "peers").replace("{", "").replace("}", "")
    said = ask(operation.method, path, only_public=True)
    assert (said.status == 200) is operation.is_public
    assert not operation.is_public or operation.method == "GET"


def test_stop_and_wipe_reach_the_router() -> None:
    control = FakeControl()
    ask("POST", "/stop", {"wipe": True}, control=control)
    assert (control.stopped.is_set(), control.wiped) == (True, True)


def test_masquerading_is_the_default() -> None:
    control = FakeControl()
    ask("POST", "/expose", control=control)
    assert control.masquerade is True
    ask("POST", "/expose/10.32.0.5/12?skipNAT=true", control=control)
    assert control.masquerade is False


def test_a_watcher_of_endpoints_is_told_what_there_is_when_nothing_changes() -> None:
    async def main() -> Any:
        began = trio.current_time()
        said = await ask_app(FakeControl(), "GET", "/endpoints?after=7")
        return said, trio.current_time() - began

    said, waited_s = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert (said.json["generation"], len(said.json["endpoints"])) == (7, 2)
    assert waited_s == pytest.approx(25)
