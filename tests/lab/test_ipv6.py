"""The same network with IPv6 addresses: allocation, packets, names, the host itself."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network

import pytest

from tests.lab.world import LAB, TRUSTED, World, names_of, world

pytestmark = LAB
RANGE = ip_network("fd00:77::/64")


@pytest.fixture(scope="module")
def net() -> Iterator[World]:
    """Two hosts with a container each: c1 on h1, c2 on h2."""
    with world("sixth", 2, (*TRUSTED, f"--ipalloc-range={RANGE}")) as made:
        made.container("h1", "c1")
        made.container("h2", "c2")
        made.agreed("h1", "h2")
        yield made


def test_containers_reach_each_other_by_address_and_by_name(net: World) -> None:
    addresses = names_of(net.report("h1"))
    assert all(ip_address(address) in RANGE for address in addresses.values())
    assert net.reaches("c1", addresses["c2"])
    assert net.reaches("c2", "c1.weave.local")


def test_names_have_addresses_and_addresses_names(net: World) -> None:
    address = names_of(net.report("h1"))["c2"]
    assert net.inside("c1", "dig", "+short", "AAAA", "c2.weave.local.").split() == [address]
    assert net.inside("c1", "dig", "+short", "A", "c2.weave.local.").split() == []
    assert net.inside("c1", "dig", "+short", "-x", address).split() == ["c2.weave.local."]


def test_the_host_itself_joins_and_leaves(net: World) -> None:
    address = net.weave("h1", "expose").strip()
    net.until(lambda: net.reaches("c2", address), bool, "a container does not reach the exposed host")
    assert net.reaches("h1", names_of(net.report("h1"))["c2"])
    assert borrows(net)
    assert net.weave("h1", "hide").strip() == address
    assert not borrows(net)


def borrows(net: World) -> bool:
    """Say whether what leaves the subnet by this host borrows its address."""
    lines = net.inside("h1", "nft", "list", "ruleset").splitlines()
    return any(f"ip6 saddr {RANGE}" in line and "masquerade" in line for line in lines)
