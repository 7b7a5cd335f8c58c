"""What scenario tests share: clusters in a known state, and words for looking at them."""

from collections.abc import Sequence

from tests.sim.world import World
from tests.unit.ipam.cluster import RANGE, Cluster, Faults, peer
from weave.addresses import IPNetwork
from weave.errors import LocalError
from weave.ipam.core import IpamCore
from weave.ipam.modes import InitMode, Seed


def cluster_of(*inits: InitMode, network: IPNetwork = RANGE, faults: Faults | None = None) -> Cluster:
    """Start hosts 1, 2, ... and let them meet."""
    cluster = Cluster(World(1), inits, network=network, faults=faults)
    cluster.start()
    wait(cluster, 1)
    return cluster


def seeded(count: int, extra: Sequence[InitMode] = (), network: IPNetwork = RANGE) -> Cluster:
    """Start hosts among the first `count` of which the range is divided from the start."""
    names = tuple(peer(number) for number in range(1, count + 1))
    return cluster_of(*[Seed(names)] * count, *extra, network=network)


def wait(cluster: Cluster, seconds: float) -> None:
    cluster.world.run(cluster.world.now + seconds)


def core_of(cluster: Cluster, number: int) -> IpamCore:
    core = cluster[number].core
    assert core is not None
    return core


def status(cluster: Cluster, number: int) -> str:
    return core_of(cluster, number).status()


def allocated(cluster: Cluster, number: int, ident: str, subnet: IPNetwork | None = None, within: float = 3) -> str:
    """Allocate, and return the address as text; the refusal where there is one; nothing while it waits."""
    return answer(cluster, cluster.allocate(number, ident, subnet), within)


def claimed(cluster: Cluster, number: int, ident: str, text: str, within: float = 3) -> str:
    return answer(cluster, cluster.claim(number, ident, text), within)


def answer(cluster: Cluster, request: int, within: float = 3) -> str:
    deadline = cluster.world.now + within
    while request not in cluster.outcomes and cluster.world.now < deadline:
        wait(cluster, 0.01)
    if request not in cluster.outcomes:
        return ""
    outcome = cluster.outcomes[request]
    return f"refused: {outcome}" if isinstance(outcome, LocalError) else str(outcome)


def owners(cluster: Cluster, number: int) -> str:
    """Return who owns what in the view of a host: the last digit of the owner of every eighth address."""
    estate = core_of(cluster, number).estate
    assert estate is not None
    start = cluster.network.network_address
    return "".join(estate.ring.at(int(start) + offset).owner[-1]
                   for offset in range(0, cluster.network.num_addresses, 8))
