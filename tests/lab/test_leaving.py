"""Hosts that leave for good: by `weave reset`, by `weave rmpeer`; and the ways to divide the range at the start."""

import json
from collections.abc import Iterator, Mapping

import pytest

from tests.lab.world import LAB, TRUSTED, Report, World, fresh, own_name, peer, world
from weave.lab import probes
from weave.lab.names import underlay_address

pytestmark = LAB
HOSTS = ("h1", "h2", "h3")
WHOLE = 1 << 20


@pytest.fixture(scope="module")
def net() -> Iterator[World]:
    """Three hosts that a test may take apart, and that are complete again after it."""
    with world("leaving", 3) as made:
        for host in HOSTS:
            made.weave(host, "expose")
        yield made


@pytest.fixture(autouse=True)
def complete(request: pytest.FixtureRequest) -> Iterator[None]:
    """Bring back the routers that a test ended."""
    yield
    if "net" in request.fixturenames:
        net: World = request.getfixturevalue("net")
        for host in net.lab.hosts():
            if host.router == "stopped":
                net.lab.start(host.name)
        net.connected(*HOSTS)


def shares(report: Report) -> Mapping[str, int]:
    """Return how many addresses each host owns."""
    return {row["Nickname"]: row["IPs"] for row in report["IPAM"]["Owners"]}


def left_of_us(net: World, host: str) -> str:
    """Return what is left of us in the kernel and in the state directory of a host."""
    rules = net.inside(host, "nft", "list", "tables")
    links = "\n".join(f"{row['ifname']}" for row in json.loads(net.inside(host, "ip", "-j", "link"))
                      if row["ifname"] not in ("lo", "eth0"))
    files = "\n".join(path.name for path in net.state(host).iterdir())
    return "\n".join(part for part in (rules.strip(), links, files) if part)


def test_reset_gives_the_space_back_and_leaves_nothing(net: World) -> None:
    before = shares(net.report("h1"))
    assert sum(before.values()) == WHOLE
    net.container("h3", "c3")
    net.weave("h3", "reset")
    seen = net.wait("h1", lambda seen: "h3" not in shares(seen), "still sees h3 own addresses")
    assert sum(shares(seen).values()) == WHOLE
    assert max(shares(seen).values()) >= before["h3"] + min(before["h1"], before["h2"]), "one heir got it all"
    assert left_of_us(net, "h3") == ""
    assert net.lab.execute("c3", "ip", "link", "show", "ethwe").returncode != 0
    view = net.agreed("h1", "h2")
    assert len(view["peers"]) == 2, "nobody remembers it"
    assert {row[3] for row in view["endpoints"]} == {"h1", "h2"}
    net.lab.start("h3")
    net.connected(*HOSTS)
    assert own_name(net.report("h3")) not in str(net.report("h1")["IPAM"]["Entries"]), "it came back as a new peer"
    with net.box("h3", "again") as box:
        net.weave("h3", "attach", box.netns)


def test_reset_of_a_router_that_does_not_run_is_asked_for_by_force(net: World) -> None:
    lost = shares(net.report("h1"))["h2"]
    net.lab.kill("h2")
    assert "--force" in net.refused("h2", "reset")
    assert "weave.db" in left_of_us(net, "h2")
    net.weave("h2", "reset", "--force")
    assert left_of_us(net, "h2") == ""
    net.lab.start("h2")
    net.connected(*HOSTS)
    assert net.weave("h1", "rmpeer", "h2").strip() == f"{lost} IPs taken over from h2", "not from the new one"


def test_rmpeer_takes_the_space_of_the_dead_and_only_of_the_dead(net: World) -> None:
    with net.box("h3", "asks") as box:
        net.weave("h3", "attach", box.netns)
    before = net.until(lambda: shares(net.report("h1")), lambda seen: "h3" in seen, "h3 owns nothing to take")
    assert "is reachable" in net.refused("h1", "rmpeer", "h3")
    assert "there is no peer nobody" in net.refused("h1", "rmpeer", "nobody")
    assert shares(net.report("h1")) == before
    net.lab.kill("h3")
    net.wait("h1", lambda seen: not peer(seen, "h3")["Reachable"], "still thinks that h3 is there")
    assert net.weave("h1", "rmpeer", "h3").strip() == f"{before['h3']} IPs taken over from h3"
    for host in ("h1", "h2"):
        seen = net.wait(host, lambda seen: "h3" not in shares(seen), "still sees h3 own addresses")
        assert shares(seen)["h1"] == before["h1"] + before["h3"]
    net.lab.start("h3")
    net.connected(*HOSTS)
    net.wait("h3", lambda seen: "h3" not in shares(seen), "does not step back")


def test_the_last_one_owns_everything(net: World) -> None:
    for host in ("h2", "h3"):
        net.weave(host, "reset")
    seen = net.wait("h1", lambda seen: set(shares(seen)) == {"h1"}, "does not own everything")
    assert shares(seen) == {"h1": WHOLE}
    assert net.weave("h1", "prime") == ""


@pytest.fixture
def empty() -> Iterator[World]:
    with fresh("founding") as made:
        yield made


def test_prime_waits_for_the_quorum(empty: World) -> None:
    empty.lab.up(1, options=(*TRUSTED, "--ipalloc-init=consensus=3"))
    assert "awaiting consensus" in empty.weave("h1", "status") or "idle" in empty.weave("h1", "status")
    assert "status ipam" in empty.refused("h1", "prime", "--timeout", "1")
    with empty.box("h1", "early") as box:
        with probes.background(empty.lab, "h1", "weave", "attach", box.netns) as attaching:
            empty.wait("h1", lambda seen: seen["IPAM"]["PendingAllocates"], "nobody waits for an address")
            assert "awaiting consensus" in empty.weave("h1", "status")
            empty.lab.up(2, options=(*TRUSTED, "--ipalloc-init=consensus=3"))
            assert attaching.communicate(timeout=30)[0].strip(), "two of three are a quorum"
        assert empty.weave("h2", "prime") == ""
    empty.agreed("h1", "h2")


def test_an_observer_waits_and_gets_space_from_others(empty: World) -> None:
    empty.lab.up(1, options=(*TRUSTED, "--ipalloc-init=observer"))
    empty.lab.up(2, options=(*TRUSTED, "--ipalloc-init=consensus=1"))
    assert empty.weave("h1", "prime") == ""
    with empty.box("h1", "one") as box:
        assert empty.weave("h1", "attach", box.netns).strip()
    view = empty.agreed("h1", "h2")
    assert len({row[2] for row in view["ring"]}) == 2


def test_seeds_own_equal_shares_from_the_start(empty: World) -> None:
    empty.lab.up(2, options=(*TRUSTED, "--ipalloc-init=observer"))
    names = sorted(own_name(empty.report(host)) for host in ("h1", "h2"))
    seed = f"--ipalloc-init=seed={','.join(names)}"
    for host in ("h1", "h2"):
        empty.weave(host, "stop")
        empty.lab.start(host, options=(*TRUSTED, seed))
    empty.connected("h1", "h2")
    empty.agreed("h1", "h2")
    assert shares(empty.report("h1")) == {"h1": WHOLE // 2, "h2": WHOLE // 2}


def test_targets_are_added_dropped_and_remembered(empty: World) -> None:
    empty.lab.up(1, options=TRUSTED)
    nobody, nowhere = "127.0.0.1:7000", str(underlay_address(77))
    for command, known in ((("connect", nobody, f"{nowhere}:6783"), 2), (("forget", nowhere), 1)):
        empty.weave("h1", *command)
        assert len(empty.weave("h1", "status", "targets").split()) == known
    seen = empty.wait("h1", lambda seen: any(row["Info"] for row in seen["Router"]["Connections"]),
                      "does not say why it is not connected")
    [row] = seen["Router"]["Connections"]
    assert (row["Address"], "connection refused" in row["Info"]) == (nobody, True)
    empty.lab.kill("h1")
    empty.lab.start("h1")
    assert empty.weave("h1", "status", "targets").split() == [nobody]
    empty.weave("h1", "connect", "--replace", str(underlay_address(9)))
    assert empty.weave("h1", "status", "targets").split() == [str(underlay_address(9))]
