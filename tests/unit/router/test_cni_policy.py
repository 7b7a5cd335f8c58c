"""A router that expects a policy controller adds nothing before there is one, whatever configuration is used."""

import json
from ipaddress import ip_network
from typing import Any

import pytest
import trio

from weave.cni.plan import Host
from weave.cni.request import Request, encode_request
from weave.router.cni import CniServer
from weave.router.cni_net import NetPlugin
from weave.router.readiness import Readiness

RANGE = ip_network("10.32.0.0/12")
CONF = {"cniVersion": "1.1.0", "name": "multus", "type": "weave-net"}


class Addressing:
    """Addresses are there; whoever comes to ask has been let through."""

    has_range = False


class Containers:
    """Refuse every container, in words that show how far it came."""

    async def refuse_living(self, container: str, interface: str) -> None:
        raise AssertionError


def answer(verb: str, *, is_guarded: bool) -> tuple[int, Any]:
    unused: Any = None
    addressing: Any = Addressing()
    containers: Any = Containers()
    host = Host("weave", (RANGE,), (RANGE,), "weave.local.")
    plugin = NetPlugin(host=host, datapath=unused, addressing=addressing, exposure=unused, containers=containers,
                       readiness=Readiness(addressing, lambda: None, lambda: is_guarded))
    environment = {"CNI_COMMAND": verb, "CNI_CONTAINERID": "c1", "CNI_NETNS": "/proc/self/ns/net",
                   "CNI_IFNAME": "eth0", "CNI_PATH": "/opt/cni/bin"}
    body = encode_request(Request(environment, json.dumps(CONF).encode()))
    status, said = trio.run(CniServer({"weave-net": plugin}, lambda *_: None).answer, "weave-net", body)
    return status, json.loads(said or "{}").get("code")


@pytest.mark.parametrize(("verb", "code"), [("ADD", 11), ("STATUS", 50)])
def test_nothing_is_added_while_rules_that_are_expected_are_missing(verb: str, code: int) -> None:
    assert answer(verb, is_guarded=False) == (1, code)


@pytest.mark.parametrize(("verb", "reached"), [("ADD", (1, 999)), ("STATUS", (0, None))])
def test_requests_are_served_once_the_rules_stand(verb: str, reached: tuple[int, int | None]) -> None:
    assert answer(verb, is_guarded=True) == reached
