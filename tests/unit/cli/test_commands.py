"""Commands against a router: what they ask of it, what they print, how they end."""

import json
import subprocess
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.unit.api.fake import C1, ME, FakeControl
from tests.unit.api.test_render import GOLDEN, OVERVIEW
from tests.unit.cli.conftest import Run
from weave.addresses import parse_interface
from weave.api.control import Attachment
from weave.cli.app import COMMANDS, LazyGroup, weave

PRINTED = [
    (["status"], f"\n{OVERVIEW}\n"),
    *((["status", part], text) for part, text in GOLDEN.items()),
    (["report", "-f", "Router.Name"], f"{ME}\n"),
    (["report", "-f", "{{ .Router.Name }}"], f"{ME}\n"),
    (["report", "-f", "{{.IPAM.ActiveIPs}}"], "2\n"),
    (["report", "-f", "Router.Targets.1"], "10.0.0.9\n"),
    (["report", "-f", "Router.Targets"], '["10.0.0.10", "10.0.0.9"]\n'),
    (["version"], "weave command 3.0.0.dev0\nweave router 3.0.0\n"),
    (["ps"], "weave:expose 7a:00:00:00:00:01 10.32.0.1/12\nblue 02:00:00:00:00:01 10.32.0.9/12\n"
             "c0ffeec0ffee 02:00:00:00:00:02 10.32.0.10/12\n"),
    (["ps", "c0ffee"], "c0ffeec0ffee 02:00:00:00:00:02 10.32.0.10/12\n"),
    (["rmpeer", "h2"], "42 IPs taken over from h2\n"),
    (["expose"], "10.32.0.1\n"),
    (["expose", "10.32.0.5/12", "net:10.40.0.0/24"], "10.32.0.5 10.40.0.1\n"),
    (["dns-lookup", "c1"], "10.32.0.9\n"),
    (["dns-args"], "--dns=10.32.0.1 --dns-search=weave.local\n"),
    (["connect", "h9"], ""),
    (["forget", "h9"], ""),
    (["prime"], ""),
    (["detach", "blue"], "10.32.0.9\n"),
    (["dns-add", "192.0.2.9", "-h", "printer"], ""),
    (["dns-remove", "192.0.2.9", "-h", "printer"], ""),
    (["dns-add", "192.0.2.9/24", "2001:db8::9", "-h", "printer"], ""),
]
WITHOUT_EFFECT = [
    (["ps", "bl"], "no container bl is attached here"),
    (["detach", "nope"], "nope was not attached here; `weave ps` lists what is"),
    (["detach", "10.32.0.77/12", "nope"], "10.32.0.77/12 nope was not attached here; `weave ps` lists what is"),
    (["hide"], "nothing was exposed here; `weave ps weave:expose` shows what is"),
    (["hide", "10.32.0.77/12"], "10.32.0.77/12 was not exposed here; `weave ps weave:expose` shows what is"),
]


@pytest.fixture
def busy(router: FakeControl) -> FakeControl:
    """Return the router with two containers on its bridge."""
    for mac, (container, address) in enumerate([("blue", "10.32.0.9/12"), ("c0ffee" * 8, "10.32.0.10/12")], 1):
        interface = parse_interface(address)
        router.held[container] = [interface]
        router.attached[container] = Attachment(container, "ethwe", f"02:00:00:00:00:0{mac}", (interface,), 1450)
    router.names.append(("blue", "c1.weave.local.", C1))
    return router


@pytest.mark.parametrize(("words", "text"), PRINTED,
                         ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_prints(words: list[str], text: str, busy: FakeControl, run: Run) -> None:
    result = run(*words)
    assert (result.exit_code, result.stdout, result.stderr) == (0, text, "")


@pytest.mark.parametrize(("words", "line"), WITHOUT_EFFECT, ids=lambda value: " ".join(value)
                         if isinstance(value, list) else "")
def test_says_that_there_was_nothing_to_do_and_ends_with_0(words: list[str], line: str, busy: FakeControl,
                                                           run: Run) -> None:
    """Scripts repeat these, people mistype them."""
    result = run(*words)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"weave: {line}\n")


@pytest.mark.parametrize("words", [
    ["status"], ["status", "peers"], ["report"], ["version"], ["ps"], ["rmpeer", "h2"], ["expose"], ["hide"],
    ["dns-lookup", "c1"], ["detach", "blue"], ["attach", "/proc/self/ns/net"],
])
def test_prints_json_for_programs(words: list[str], busy: FakeControl, run: Run) -> None:
    for option in [[]] if words == ["report"] else [["--json"], ["-o", "json"]]:
        result = run(*words, *option)
        assert (result.exit_code, result.stderr) == (0, "")
        json.loads(result.stdout)


@pytest.mark.parametrize(("words", "complaint"), [
    (["rmpeer", "h3"], "weave: no peer is called h3\n"),
    (["connect", "bad"], "weave: 'bad' is no host; write name or address, optionally :port\n"),
    (["dns-lookup", "c7"], "weave: no address is known for c7; `weave status dns` lists the names\n"),
    (["report", "-f", "Router.Nam"], "weave: the report has no 'Nam' there; there are "),
    (["report", "-f", "Router.Targets.9"], "weave: '9' should be a number below 2\n"),
    (["report", "-f", "Version.x"], "weave: the report has nothing below '3.0.0'\n"),
    (["attach", "nothing"], "weave: there is no container 'nothing': name a network namespace"),
    (["attach", "10.32.0.5", "/proc/self/ns/net"], "weave: '10.32.0.5' is not an address argument: write "),
    (["launch"], "weave: weave is already running; you can stop it with `weave stop`.\n"),
    (["dns-add", "192.0.2.999", "-h", "foo"], "weave: '192.0.2.999' is not an IP address\n"),
    (["dns-add", "192.0.2.9/99", "-h", "foo"], "weave: '192.0.2.9/99' is not an address with a prefix length: "),
    (["dns-remove", "2001:db8::9::1"], "weave: '2001:db8::9::1' is not an IP address\n"),
    (["attach", ""], "weave: the name of the container is empty\n"),
    (["lab", "logs", "h9"], "weave: h9 has no log; `weave lab ls` shows the hosts\n"),
])
def test_refusal_is_one_line_and_status_1(words: list[str], complaint: str, busy: FakeControl, run: Run) -> None:
    result = run(*words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(complaint)
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("words", [
    ["frobnicate"], ["status", "weather"], ["status", "--what"], ["connect"], ["forget"], ["rmpeer"], ["attach"],
    ["detach"], ["dns-add"], ["dns-add", "192.0.2.9"], ["dns-add", "a", "b"], ["dns-lookup"], ["stop", "now"],
    ["dns-lookup", ""],
    ["prime", "--timeout", "0"], ["status", "-o", "xml"], ["launch", "--port"], ["launch", "--bogus"],
])
def test_wrong_usage_is_status_2(words: list[str], socket_path: Path, run: Run) -> None:
    assert run(*words).exit_code == 2


@pytest.mark.parametrize("words", [
    ["status"], ["report"], ["ps"], ["stop"], ["connect", "h9"], ["attach", "/proc/self/ns/net"], ["reset"], ["prime"],
])
def test_without_a_router_every_command_says_how_to_start_one(words: list[str], socket_path: Path, run: Run) -> None:
    result = run(*words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert str(socket_path) in result.stderr
    assert "weave launch" in result.stderr
    assert result.stderr.count("\n") == 1


def test_version_needs_no_router(socket_path: Path, run: Run) -> None:
    assert run("version").stdout.splitlines() == ["weave command 3.0.0.dev0", "weave router is not running"]


@pytest.mark.parametrize("words", [["version"], ["version", "--json"]])
def test_version_tells_a_router_that_cannot_be_asked_from_none(words: list[str], socket_path: Path, run: Run) -> None:
    for failure, running in ((ConnectionRefusedError(), True), (PermissionError(), False), (TimeoutError(), False)):
        with patch("socket.socket.connect", side_effect=failure):
            result = run(*words)
        assert (result.exit_code == 0) is running
        assert ("not running" in result.stdout or '"router": null' in result.stdout) is running
    assert "did not answer" in result.stderr


def test_socket_option_wins_over_the_environment(
    router: FakeControl, socket_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEAVE_SOCKET", "/nowhere/at/all")
    assert run("--socket", str(socket_path), "status").exit_code == 0


def test_status_of_a_router_that_is_not_ready_is_shown_with_status_1(router: FakeControl, run: Run) -> None:
    router.ready = False
    result = run("status", "targets")
    assert (result.exit_code, result.stdout) == (1, GOLDEN["targets"])
    assert "not ready yet" in result.stderr


def test_connect_replaces_targets(router: FakeControl, run: Run) -> None:
    run("connect", "a", "b:1")
    run("connect", "--replace", "c")
    assert router.targets == ["c"]
    run("connect", "--replace")
    assert router.targets == []


def test_rmpeer_does_what_it_can_and_fails_if_any_fails(router: FakeControl, run: Run) -> None:
    result = run("rmpeer", "x", "h2", "y")
    assert (result.exit_code, result.stdout) == (1, "42 IPs taken over from h2\n")
    assert sorted(result.stderr.splitlines()) == ["weave: no peer is called x", "weave: no peer is called y"]


def test_prime_gives_up_after_its_timeout(router: FakeControl, run: Run) -> None:
    import trio

    router.primed = trio.Event()
    result = run("prime", "--timeout", "1")
    assert result.exit_code == 1
    assert "within 1 s; `weave status ipam` says what is missing" in result.stderr


@pytest.fixture
def ended_pid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the router be a process that has ended: the fake one lives in ours, which goes on."""
    child = subprocess.Popen(["true"])
    child.wait()
    monkeypatch.setattr("weave.api.client.peer_pid", lambda _path: child.pid)


@pytest.mark.usefixtures("ended_pid")
def test_stop_waits_for_the_end(router: FakeControl, run: Run) -> None:
    assert run("stop").exit_code == 0
    assert "weave launch" in run("status").stderr
    assert not router.wiped


def test_stop_tells_when_the_process_does_not_end(
    router: FakeControl, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weave.cli.lifecycle.END_DEADLINE_S", 0.3)
    result = run("stop")
    assert result.exit_code == 1
    assert "still runs" in result.stderr


@pytest.mark.usefixtures("ended_pid")
def test_reset_gives_addresses_away_before_it_wipes(router: FakeControl, run: Run) -> None:
    assert run("reset").exit_code == 0
    assert (router.surrendered, router.wiped) == (True, True)


def test_attach_passes_everything_on(router: FakeControl, run: Run) -> None:
    result = run("attach", "10.32.0.5/12", "net:10.40.0.0/24", "/proc/self/ns/net", "--name", "c1", "--fqdn", "c2.x.",
                 "--interface", "eth0", "--mac", "02:42:ac:11:00:02", "--mtu", "1400", "--default-route",
                 "--no-multicast-route", "--label", "app=web")
    assert result.stdout == "10.32.0.5 10.40.0.1\n"
    spec = router.specs[0]
    assert spec.fqdns == ("c1.weave.local.", "c2.x.")
    assert (spec.interface, spec.mac, spec.mtu) == ("eth0", "02:42:ac:11:00:02", 1400)
    assert (spec.default_route, spec.multicast_route) == (True, False)
    assert spec.labels == {"app": "web"}


def test_attach_without_dns_registers_nothing(router: FakeControl, run: Run) -> None:
    run("attach", "--without-dns", "--name", "c1", "/proc/self/ns/net")
    assert router.specs[0].fqdns == ()


def test_attach_where_names_are_off(router: FakeControl, run: Run) -> None:
    router.the_report["DNS"] = None
    assert run("attach", "/proc/self/ns/net").exit_code == 0
    assert "answers no names" in run("attach", "--name", "c1", "/proc/self/ns/net").stderr


def test_expose_can_leave_masquerading_out(router: FakeControl, run: Run) -> None:
    run("expose", "--without-masquerade", "-h", "h1")
    assert router.masquerade is False
    assert [name for _, name, _ in router.names] == ["h1.weave.local."]


def test_dns_add_of_a_container_takes_its_addresses(busy: FakeControl, run: Run) -> None:
    assert run("dns-add", "blue", "-h", "db").exit_code == 0
    assert ("blue", "db.weave.local.", C1) in busy.names
    run("dns-remove", "blue")
    assert all(container != "blue" for container, _, _ in busy.names)


def test_dns_add_finds_the_addresses_of_every_interface(router: FakeControl, run: Run) -> None:
    """A runtime's interfaces are held under `container/interface`."""
    interface = parse_interface("10.32.0.9/12")
    router.held["c1/eth0"] = [interface]
    router.attached["c1"] = Attachment("c1", "eth0", "02:00:00:00:00:01", (interface,), 1450)
    assert run("dns-add", "c1", "-h", "hello").stderr == ""
    assert router.names == [("c1", "hello.weave.local.", interface.ip)]


def test_dns_add_takes_addresses_that_are_held_for_no_interface(router: FakeControl, run: Run) -> None:
    router.held["c1"] = [parse_interface("10.32.0.9/12")]
    assert run("dns-add", "c1", "-h", "hello").exit_code == 0
    assert router.names == [("c1", "hello.weave.local.", C1)]
    assert run("dns-add", "c2", "-h", "hello").stderr == "weave: c2 holds no address\n"


def test_root_help_lists_every_command_that_is_there(run: Run) -> None:
    text = run("--help").stdout
    assert isinstance(weave, LazyGroup)
    assert run("help").stdout == text
    there = [line.split()[0] for line in text.splitlines() if line.startswith("  ") and line.split()]
    assert {"launch", "status", "attach"} <= set(there)


@pytest.mark.parametrize("name", [name for name, (module, _, _) in COMMANDS.items()
                                  if module in ("lifecycle", "status", "mesh", "containers", "names", "trace")
                                  and name != "router"])
def test_help_of_every_command_has_an_example(name: str, run: Run) -> None:
    result = run(name, "--help")
    assert result.exit_code == 0
    assert f"Example: weave {name}" in result.stdout


def test_router_takes_its_own_help(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    called: list[list[str]] = []

    def execve(program: str, words: list[str], environment: dict[str, str]) -> None:
        called.append([*words, environment["WEAVE_PASSWORD"]])

    monkeypatch.setattr("os.execve", execve)
    run("router", "--help", "--password", "secret", "192.0.2.1")
    assert called[0][1:] == ["-P", "-m", "weave.router", "--help", "192.0.2.1", "secret"]


def test_dns_args_are_refused_where_no_names_are_answered(router: FakeControl, run: Run) -> None:
    router.the_report["DNS"] = None
    result = run("dns-args")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "this router answers no names" in result.stderr
