"""Somebody else changes what is ours in the kernel, and it is put back within seconds."""

from collections.abc import Iterator

import pytest

from tests.lab.world import LAB, World

pytestmark = LAB
ADDRESSES = 4
"""From this look on, each line begins with an index."""
REPAIR_S = 5.0
"""A sixth of the time after which the router looks by itself: what is repaired by then was told by the kernel."""


@pytest.fixture
def talking(shared: World) -> Iterator[tuple[World, str]]:
    """Give a lab in which c1 on h1 reaches c2 on h2, and h1 has entries for it: by flooding it is reached sooner."""
    with shared.containers("h1", "c1"), shared.containers("h2", "c2") as [there]:
        shared.until(lambda: str(state_of(shared)), lambda seen: f"{there} " in seen, "h1 has no entry for c2")
        shared.until(lambda: shared.reaches("c1", there), bool, "c1 does not reach c2")
        yield shared, there


@pytest.mark.parametrize("harm", [
    ("nft", "flush", "ruleset"),
    ("nft", "delete", "table", "inet", "weave"),
    ("nft", "delete", "table", "inet", "weave_links"),
    ("nft", "flush", "chain", "inet", "weave_links", "output"),
    ("nft", "flush", "set", "inet", "weave_links", "plain4"),
    ("ip", "link", "delete", "vxlan-6784"),
    ("ip", "link", "set", "vxlan-6784", "down"),
    ("ip", "link", "set", "vxlan-6784", "nomaster"),
    ("ip", "link", "set", "weave", "mtu", "1300"),
    ("bridge", "fdb", "flush", "dev", "vxlan-6784"),
    ("ip", "neigh", "flush", "dev", "weave", "nud", "permanent"),
    ("ip", "address", "flush", "dev", "weave"),
], ids=" ".join)
def test_what_somebody_changes_is_put_back(talking: tuple[World, str], harm: tuple[str, ...]) -> None:
    world, there = talking
    before = state_of(world)
    world.inside("h1", *harm)
    world.until(lambda: state_of(world), lambda seen: seen == before, f"after {' '.join(harm)}", REPAIR_S)
    assert world.reaches("c1", there)


def state_of(world: World) -> list[list[str]]:
    """Return what the kernel of h1 has of ours, without counters, times and indexes."""
    looks = (
        ("nft", "-s", "list", "table", "inet", "weave"),
        ("nft", "-s", "list", "table", "inet", "weave_links"),
        ("bridge", "fdb", "show", "dev", "vxlan-6784", "self"),
        ("ip", "-o", "neigh", "show", "dev", "weave", "nud", "permanent"),
        ("ip", "-o", "-4", "address", "show", "dev", "weave"),
        ("bridge", "-o", "link", "show", "dev", "vxlan-6784"),
        ("ip", "-o", "link", "show", "dev", "weave"),
    )
    seen = [world.lab.execute("h1", *look).stdout for look in looks]
    return [sorted(text.partition(":")[2] if number >= ADDRESSES else line for line in text.splitlines())
            for number, text in enumerate(seen)]
