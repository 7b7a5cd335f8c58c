"""Hosts that have no IPv4: routers find each other, and containers, of IPv4 as ever, talk by each mode there is."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.underlay import UNDERLAY6, connect6, move_to_ipv6
from tests.lab.world import LAB, SECRET, World, names_of, world
from weave.lab import probes

pytestmark = LAB
HOSTS = ("h1", "h2")
RETURNS_S = 60.0
"""The hosts that trust IPv6 alone had a sleeve before, so VXLAN is not believed in until it is proven."""


@contextmanager
def moved(name: str, options: tuple[str, ...]) -> Iterator[World]:
    """Have two hosts with a container each, that were given an underlay of IPv6 while their routers were down."""
    with world(name, len(HOSTS), options) as made:
        for host in HOSTS:
            made.container(host, f"c{host[1:]}")
        for host in HOSTS:
            made.lab.kill(host)
            move_to_ipv6(made.lab, host)
        for host in HOSTS:
            made.lab.start(host)
        connect6(made.lab, "h2", "h1")
        made.connected(*HOSTS)
        made.agreed(*HOSTS)
        yield made


@pytest.mark.parametrize(("options", "mode", "mtu"), [
    ((), "vxlan", 1430), ((*SECRET, f"--trusted-subnets={UNDERLAY6}"), "vxlan", 1430), (SECRET, "sleeve", 1430),
], ids=["open", "trusted", "sealed"])
def test_containers_talk_over_an_underlay_of_ipv6(options: tuple[str, ...], mode: str, mtu: int) -> None:
    with moved("under6", options) as net:
        for host in HOSTS:
            net.wait(host, lambda seen: [row["Mode"] for row in seen["Links"]] == [mode], f"has no link by {mode}",
                     RETURNS_S)
        address = names_of(net.report("h1"))["c2"]
        net.until(lambda: net.lab.execute("c1", "ping", "-c1", "-W1", "-s", str(mtu - 28), "-Mdo", address).returncode,
                  lambda status: status == 0, "c1 does not reach c2 by large packets")
        assert probes.section(net.report("h1"), "Bridge")["MTU"] == mtu
