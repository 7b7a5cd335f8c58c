"""All suites in one iterator."""

from collections.abc import Iterator

from tests.conformance.policy import cluster_policy, cyclonus, netpol
from tests.conformance.policy.build import some_addresses
from tests.conformance.policy.case import Addresses, Case

SUITES = ("cyclonus", "netpol", "cluster policy")


def cases(addresses: Addresses = some_addresses) -> Iterator[Case]:
    """Yield every case; addresses are those of the grid's pods and of x/d, y-2/a, y-2/b, w/a."""
    yield from cyclonus.cases(addresses)
    yield from netpol.cases(addresses)
    yield from cluster_policy.cases()
