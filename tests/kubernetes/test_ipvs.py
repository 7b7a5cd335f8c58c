"""Services by kube-proxy's mode ipvs: the scenarios about them, again."""

from tests.kubernetes.flavour import IPVS, flavoured
from tests.kubernetes.test_network import (
    test_06_a_service_reaches_every_pod_behind_it,
    test_08_node_ports_work_on_every_node_and_local_ones_keep_the_source,
)
from tests.kubernetes.test_policy import _no_policies, colors, test_05_policy_holds_through_services

__all__ = [
    "_no_policies",
    "colors",
    "test_05_policy_holds_through_services",
    "test_06_a_service_reaches_every_pod_behind_it",
    "test_08_node_ports_work_on_every_node_and_local_ones_keep_the_source",
]
pytestmark = flavoured(IPVS)
