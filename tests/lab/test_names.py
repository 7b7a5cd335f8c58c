"""Containers ask for names as they do in life: by dig and by their resolver, of weave DNS and of the world beyond."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.conftest import UPSTREAM
from tests.lab.world import LAB, World, names_of, world
from weave.lab import kernel, probes
from weave.lab.names import SWITCH, UNDERLAY, namespace

pytestmark = LAB
HOSTS = ("h1", "h2", "h3")


@pytest.fixture(scope="module")
def net(shared: World) -> Iterator[World]:
    """The shared lab with n1 on h1, n2 on h2, n3 on h3."""
    with shared.containers("h1", "n1"), shared.containers("h2", "n2"), shared.containers("h3", "n3"):
        shared.agreed(*HOSTS)
        yield shared


@contextmanager
def registered(net: World, host: str, address: str, name: str) -> Iterator[None]:
    """Have a name for something outside any container; it is everywhere when the block begins."""
    net.weave(host, "dns-add", address, "-h", name)
    try:
        for other in HOSTS:
            net.wait(other, lambda seen: (f"{name}.", address) in {
                (row["Hostname"], row["Address"]) for row in seen["DNS"]["Entries"]}, f"does not hear of {name}")
        yield
    finally:
        net.weave(host, "dns-remove", address, "-h", name)


def dig(net: World, place: str, *words: str) -> list[str]:
    return net.inside(place, "dig", "+short", "+tries=2", "+time=2", *words).split()


def status(net: World, place: str, *words: str) -> str:
    """Return the status that a question ends with, and how many answers it had: `NOERROR 0`."""
    lines = net.inside(place, "dig", "+tries=2", "+time=2", *words).splitlines()
    code = next(line for line in lines if "status:" in line).partition("status: ")[2].partition(",")[0]
    count = next(line for line in lines if "ANSWER: " in line).partition("ANSWER: ")[2].partition(",")[0]
    return f"{code} {count}"


def test_names_added_by_hand_are_answered_everywhere_until_removed(net: World) -> None:
    with registered(net, "h1", "192.0.2.9", "printer.weave.local"):
        for place in ("n1", "n2", "n3"):
            assert dig(net, place, "printer.weave.local.") == ["192.0.2.9"]
            assert dig(net, place, "+tcp", "printer.weave.local.") == ["192.0.2.9"]
        assert net.weave("h3", "dns-lookup", "printer").split() == ["192.0.2.9"]
    net.until(lambda: status(net, "n3", "printer.weave.local."), lambda seen: seen == "NXDOMAIN 0", "printer stays")


def test_a_name_of_a_container_can_be_added_and_removed(net: World) -> None:
    [address] = dig(net, "n1", "n1.weave.local.")
    netns = namespace(net.lab.name, "h1", "n1")
    net.weave("h1", "dns-add", netns, "-h", "alias")
    assert dig(net, "n1", "alias.weave.local.") == [address]
    net.weave("h1", "dns-remove", netns, "-h", "alias")
    assert status(net, "n1", "alias.weave.local.") == "NXDOMAIN 0"
    assert dig(net, "n1", "n1.weave.local.") == [address], "its other name stays"


def test_several_addresses_of_one_name_take_turns_at_the_top(net: World) -> None:
    with registered(net, "h1", "192.0.2.31", "pool.weave.local"), \
            registered(net, "h2", "192.0.2.32", "pool.weave.local"), \
            registered(net, "h3", "192.0.2.33", "pool.weave.local"):
        answers = [dig(net, "n2", "pool.weave.local.") for _ in range(12)]
        assert all(sorted(answer) == ["192.0.2.31", "192.0.2.32", "192.0.2.33"] for answer in answers)
        assert {answer[0] for answer in answers} == {"192.0.2.31", "192.0.2.32", "192.0.2.33"}


def test_case_is_kept_as_asked_and_does_not_matter(net: World) -> None:
    [address] = dig(net, "n1", "n3.weave.local.")
    answer = net.inside("n1", "dig", "+noall", "+answer", "N3.WeAvE.lOcAl.").split()
    assert (answer[0], answer[-1]) == ("N3.WeAvE.lOcAl.", address)


def test_addresses_have_names(net: World) -> None:
    [address] = dig(net, "n1", "n2.weave.local.")
    assert dig(net, "n3", "-x", address) == ["n2.weave.local."]
    assert status(net, "n3", "-x", "10.47.254.254") == "NXDOMAIN 0"


def test_no_such_name_differs_from_no_such_record(net: World) -> None:
    assert status(net, "n1", "nobody.weave.local.") == "NXDOMAIN 0"
    assert status(net, "n1", "n1.weave.local.", "AAAA") == "NOERROR 0"
    assert status(net, "n1", "n1.weave.local.", "A") == "NOERROR 1"
    assert "SOA" in net.inside("n1", "dig", "+noall", "+authority", "nobody.weave.local.")


def test_a_container_resolves_short_names(net: World) -> None:
    address = names_of(net.report("h1"))["n2"]
    assert net.python("n1", probes.RESOLVE, "n2").split() == ["n2", address]


def test_names_of_a_killed_router_are_withheld_and_come_back(net: World) -> None:
    [address] = dig(net, "n1", "n3.weave.local.")
    net.lab.kill("h3")
    try:
        net.until(lambda: status(net, "n1", "n3.weave.local."), lambda seen: seen == "NOERROR 0",
                  "the name of a dead router's container is still answered")
        assert net.reaches("n1", address), "its container lives all the same"
    finally:
        net.lab.start("h3")
    for place in ("n1", "n2", "n3"):
        net.until(lambda place=place: dig(net, place, "n3.weave.local."),  # type: ignore[misc]
                  lambda seen: seen == [address], "the name did not come back")
    net.connected(*HOSTS)


@pytest.fixture
def upstream(net: World) -> Iterator[None]:
    """The resolver of all hosts: knows everything below example.net, and one long record."""
    switch = namespace(net.lab.name, SWITCH)
    kernel.run("ip", "-n", switch, "address", "add", f"{UPSTREAM}/{UNDERLAY.prefixlen}", "dev", "br0")
    try:
        with probes.background(
                net.lab, SWITCH, "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                f"--listen-address={UPSTREAM}", "--bind-interfaces", "--user=root", "--group=root",
                "--address=/example.net/203.0.113.7", "--txt-record=long.example.net," + ",".join(["x" * 250] * 8)):
            yield
    finally:
        kernel.run("ip", "-n", switch, "address", "del", f"{UPSTREAM}/{UNDERLAY.prefixlen}", "dev", "br0")


@pytest.mark.usefixtures("upstream")
def test_other_names_are_asked_of_the_hosts_resolver(net: World) -> None:
    net.until(lambda: status(net, "n1", "www.example.net."), lambda seen: seen == "NOERROR 1", "nobody was asked")
    assert dig(net, "n1", "www.example.net.") == ["203.0.113.7"]
    assert dig(net, "n2", "+tcp", "other.example.net.") == ["203.0.113.7"]
    long = net.inside("n3", "dig", "+short", "+bufsize=1232", "TXT", "long.example.net.")
    assert long.count("x" * 250) == 8, "a long answer comes by TCP"
    assert str(UPSTREAM) in net.weave("h1", "status")


def test_without_an_answer_from_the_hosts_resolver_the_client_hears_so(net: World) -> None:
    assert status(net, "n1", "+time=10", "www.example.org.") == "SERVFAIL 0"
    assert status(net, "n1", "n1.weave.local.") == "NOERROR 1", "our own names go on"


def test_the_name_server_answers_nobody_on_the_underlay(net: World) -> None:
    done = net.lab.execute("h2", "dig", "+short", "+time=1", "+tries=1", "@198.51.100.1", "n1.weave.local.")
    assert done.returncode != 0, done.stdout


def test_a_host_without_containers_begins_to_answer_when_somebody_asks_where() -> None:
    with world("dnsargs", 1, ()) as net:
        net.weave("h1", "dns-add", "192.0.2.9", "-h", "printer")
        words = net.weave("h1", "dns-args").split()
        assert words[1] == "--dns-search=weave.local"
        address = words[0].removeprefix("--dns=")
        assert dig(net, "h1", f"@{address}", "printer.weave.local.") == ["192.0.2.9"]
        assert net.weave("h1", "dns-args").split() == words
