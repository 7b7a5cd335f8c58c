"""`weave expose` puts a host on the network, `weave hide` takes it off; masquerading comes and goes with it."""

from collections.abc import Iterator

import pytest

from tests.lab.world import LAB, World, names_of
from weave.lab import kernel
from weave.lab.names import SWITCH, UNDERLAY, namespace

pytestmark = LAB
OUTSIDE = UNDERLAY.network_address + 252
"""An address of the underlay that knows nothing of containers."""


@pytest.fixture(scope="module")
def net(shared: World) -> Iterator[World]:
    """The shared lab with e1 on h1 and e2 on h2."""
    with shared.containers("h1", "e1"), shared.containers("h2", "e2"):
        shared.agreed("h1", "h2", "h3")
        yield shared


@pytest.fixture
def exposed(net: World) -> Iterator[str]:
    """The address at which h1 is exposed."""
    yield net.weave("h1", "expose").strip()
    net.weave("h1", "hide")


def masqueraded(net: World, host: str) -> bool:
    return "masquerade" in net.inside(host, "nft", "list", "ruleset")


def test_an_exposed_host_and_containers_everywhere_reach_each_other(net: World, exposed: str) -> None:
    addresses = names_of(net.report("h1"))
    assert net.reaches("h1", addresses["e1"])
    net.until(lambda: net.reaches("h1", addresses["e2"]), bool, "h1 does not reach a container of h2")
    assert net.reaches("e1", exposed)
    assert net.reaches("e2", exposed)


def test_expose_twice_answers_and_does_the_same(net: World, exposed: str) -> None:
    bridge = net.inside("h1", "ip", "address", "show", "dev", "weave")
    rules = net.inside("h1", "nft", "list", "ruleset")
    assert net.weave("h1", "expose").strip() == exposed
    assert net.inside("h1", "ip", "address", "show", "dev", "weave") == bridge
    assert net.inside("h1", "nft", "list", "ruleset") == rules


def test_containers_reach_the_world_as_their_host_while_it_is_exposed(net: World) -> None:
    switch = namespace(net.lab.name, SWITCH)
    kernel.run("ip", "-n", switch, "address", "add", f"{OUTSIDE}/{UNDERLAY.prefixlen}", "dev", "br0")
    try:
        gateway = net.weave("h1", "expose").strip()
        net.inside("e1", "ip", "route", "add", "default", "via", gateway)
        net.inside("h1", "sysctl", "-qw", "net.ipv4.ip_forward=1")
        rules = net.inside("h1", "nft", "list", "table", "inet", "weave_nat").splitlines()
        borrowing = [line for line in rules if "masquerade" in line and "chain" not in line]
        assert borrowing
        assert all("fully-random" in line for line in borrowing)
        assert net.reaches("e1", str(OUTSIDE))
        net.weave("h1", "hide")
        assert not masqueraded(net, "h1")
        assert not net.reaches("e1", str(OUTSIDE))
        net.weave("h1", "expose", "--without-masquerade")
        assert not masqueraded(net, "h1")
    finally:
        net.weave("h1", "hide")
        kernel.run("ip", "-n", switch, "address", "del", f"{OUTSIDE}/{UNDERLAY.prefixlen}", "dev", "br0")


def test_an_exposed_host_has_a_name_until_it_is_hidden(net: World) -> None:
    address = net.weave("h2", "expose", "10.41.0.2/12", "-h", "host2").strip()
    assert address == "10.41.0.2"
    net.wait("h1", lambda seen: names_of(seen).get("host2") == address, "does not hear the name of h2")
    assert net.reaches("e1", address)
    assert net.weave("h2", "hide", "10.41.0.2/12").strip() == address
    net.wait("h1", lambda seen: "host2" not in names_of(seen), "still knows the name of h2")
    net.until(lambda: net.reaches("e1", address), lambda seen: not seen, "the hidden address answers")


def test_hiding_keeps_the_name_server_of_the_containers(net: World) -> None:
    assert net.weave("h1", "expose") == net.weave("h1", "hide")
    assert net.inside("e1", "dig", "+short", "e2.weave.local.").split() == [names_of(net.report("h1"))["e2"]]
    assert net.weave("h1", "hide").strip() == "", "what is hidden already is not hidden again"
