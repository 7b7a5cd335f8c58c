"""Names that a container gets: those asked for, strictly, and a pod's own where it is a name."""

from ipaddress import ip_network

import pytest

from tests.unit.cni.test_request import call
from weave.cni.plan import Host
from weave.dns.labels import registered_name
from weave.errors import LocalError
from weave.router.cni_net import names_of

HOST = Host("weave", (ip_network("10.32.0.0/12"),), (), "weave.local.")
LONG = "a-workflow-with-a-rather-long-name-that-goes-on-and-on-1234567890"


@pytest.mark.parametrize(("pod", "names"), [
    ("web", ("web.shop.weave.local.",)), ("v1.web", ("v1.web.shop.weave.local.",)), (LONG, ()),
    (".".join("ab" * 120), ()),
])
def test_pod_whose_name_is_none_for_dns_goes_without_it(pod: str, names: tuple[str, ...]) -> None:
    made = call({"podNames": True}, CNI_ARGS=f"K8S_POD_NAME={pod};K8S_POD_NAMESPACE=shop")
    assert names_of(made, HOST) == names


def test_name_that_was_asked_for_is_kept_and_refused_later() -> None:
    made = call({"podNames": True, "runtimeConfig": {"aliases": [LONG]}}, CNI_ARGS=f"K8S_POD_NAME={LONG}")
    [name] = names_of(made, HOST)
    with pytest.raises(LocalError):
        registered_name(name, HOST.domain)
