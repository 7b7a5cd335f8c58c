"""Services as kube-proxy's nftables mode has them: pods of other hosts behind them, the way back, and who asks.

    h1: router, controller, proxy rules       h2: router, controller      outside: on the underlay
      shop  web                                 far

The table has the layout that kube-proxy documents: base chains `nat-*`, a map from address and port to the chain of a
service, in it a map from a number to the chain of an endpoint, and a mark for what must return by this host.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance.cni.plugin import Container, Plugin, container, sweep_namespaces
from tests.conformance.cni.plugins import SHIM
from tests.lab.policy import Controllers, controllers, from_app, policy
from tests.lab.world import LAB, Box
from weave.errors import EnvironmentFailure
from weave.lab import kernel
from weave.lab.names import SWITCH, UNDERLAY, namespace

pytestmark = LAB
PODS = {"shop": "h1", "web": "h1", "far": "h2"}
NODE_PORT = 30080
H1 = str(UNDERLAY.network_address + 1)
OUTSIDE = f"{UNDERLAY.network_address + 252}/{UNDERLAY.prefixlen}"
CLUSTER = {4: "10.32.0.0/12", 6: "fd00:77::/64"}
UPLINK = "eth0"
SERVICE = {4: "10.96.0.41", 6: "fd00:96::41"}
FAMILIES = pytest.mark.parametrize("family", [4, 6], ids=["ipv4", "ipv6"])

SERVE = """
import socket, sys
server = socket.create_server(("::", 80), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    client, peer = server.accept()
    client.sendall(f"{sys.argv[1]} {peer[0].removeprefix('::ffff:')}".encode())
    client.close()
"""
ASK = """
import socket, sys
client = socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)
print(client.makefile().read())
"""
PROXY = """
table {ip} kube-proxy
delete table {ip} kube-proxy
table {ip} kube-proxy {{
  set cluster-ips {{ type {type}; elements = {{ {service} }} }}
  set nodeport-ips {{ type {type}; elements = {{ {nodes} }} }}
  map service-ips {{
    type {type} . inet_proto . inet_service : verdict
    elements = {{ {service} . tcp . 80 : goto service-A-default/web/tcp/http }}
  }}
  map service-nodeports {{
    type inet_proto . inet_service : verdict
    elements = {{ tcp . {node_port} : goto external-A-default/web/tcp/http }}
  }}
  chain nat-prerouting {{ type nat hook prerouting priority dstnat; jump services; }}
  chain nat-output {{ type nat hook output priority -100; jump services; }}
  chain nat-postrouting {{ type nat hook postrouting priority srcnat; jump masquerading; }}
  chain filter-forward {{
    type filter hook forward priority -110
    ct state new {ip} daddr @cluster-ips reject
  }}
  chain services {{
    {ip} daddr . meta l4proto . th dport vmap @service-ips
    {ip} daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports
  }}
  chain masquerading {{
    meta mark & 0x4000 == 0x0 return
    meta mark set meta mark xor 0x4000
    masquerade fully-random
  }}
  chain mark-for-masquerade {{ meta mark set meta mark or 0x4000; }}
  chain external-A-default/web/tcp/http {{
    jump mark-for-masquerade
    goto service-A-default/web/tcp/http
  }}
  chain service-A-default/web/tcp/http {{
    {ip} daddr {service} tcp dport 80 {ip} saddr != {cluster} jump mark-for-masquerade
    numgen random mod {count} vmap {{ {numbers} }}
  }}
{endpoints}
}}
"""
ENDPOINT = """
  chain endpoint-{number}-default/web/tcp/http__{label}/80 {{
    {ip} saddr {address} jump mark-for-masquerade
    meta l4proto tcp dnat to {target}:80
  }}
"""


def rules(family: int, endpoints: Sequence[str]) -> str:
    """Return the table of one service with these pods behind it."""
    ip = "ip" if family == 4 else "ip6"
    chains = [ENDPOINT.format(ip=ip, number=number, address=one, label=one.replace(":", "."),
                              target=one if family == 4 else f"[{one}]")
              for number, one in enumerate(endpoints)]
    numbers = ", ".join(f"{number} : goto endpoint-{number}-default/web/tcp/http__{one.replace(':', '.')}/80"
                        for number, one in enumerate(endpoints))
    return PROXY.format(ip=ip, type=f"ipv{family}_addr", service=SERVICE[family], cluster=CLUSTER[family],
                        nodes=H1 if family == 4 else "2001:db8::1", node_port=NODE_PORT, count=len(endpoints),
                        numbers=numbers, endpoints="".join(chains))


@dataclass(frozen=True, slots=True)
class Pods:
    """The pods, by the label that names them."""

    running: Controllers
    made: dict[str, Container]

    def address(self, name: str, family: int) -> str:
        [found] = [item["address"] for item in self.made[name].result["ips"]
                   if (":" in item["address"]) == (family == 6)]
        return str(found.partition("/")[0])

    def gateway(self, family: int) -> str:
        [found] = [item["gateway"] for item in self.made["shop"].result["ips"]
                   if (":" in item["gateway"]) == (family == 6)]
        return str(found)

    def offer(self, family: int, *names: str) -> None:
        """Have the service lead to these pods."""
        table = rules(family, [self.address(name, family) for name in names])
        kernel.run(*kernel.inside(self.netns("h1"), "nft", "-f", "-"), stdin=table)

    def netns(self, host: str) -> str:
        return namespace(self.running.world.lab.name, host)

    def ask(self, place: str, address: str, port: int = 80) -> list[str]:
        """Return which pod answered somebody, and whom it saw; nothing where nobody did."""
        netns = str(self.made[place].netns) if place in self.made else self.netns(place)
        command = kernel.inside(netns, sys.executable, "-ISc", ASK, address, str(port))
        try:
            return kernel.run(*command).split()
        except EnvironmentFailure:
            return []


def plugin(running: Controllers, host: str, program: Path) -> Plugin:
    lab = running.world.lab
    return Plugin(name="weave-net", program=program, configuration={"name": "pods", "type": "weave-net"},
                  host=namespace(lab.name, host), environment={"WEAVE_SOCKET": str(lab.socket(host))}, held=lambda: 0)


@contextmanager
def serving(made: Container, name: str) -> Iterator[None]:
    with Box(str(made.netns)).running(sys.executable, "-ISuc", SERVE, name) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    sweep_namespaces()
    place = tmp_path_factory.mktemp("services")
    (place / "weave-net").symlink_to(SHIM)
    (place / "policies").mkdir()
    with controllers("svc", 2, place / "policies") as running, ExitStack() as stack:
        made = {}
        for name, host in PODS.items():
            labels = {"args": {"cni": {"labels": [{"key": "app", "value": name}]}}}
            made[name] = stack.enter_context(container(plugin(running, host, place / "weave-net"), "1.0.0",
                                                       extra=labels))
            made[name].add()
            stack.enter_context(serving(made[name], name))
        for host in ("h1", "h2"):
            running.until(host, lambda status: status["pods"] >= len(PODS), "does not know the pods")
        yield Pods(running, made)


@pytest.fixture
def open_network(pods: Pods) -> Iterator[Pods]:
    yield pods
    if pods.running.revision:
        pods.running.set()


@FAMILIES
def test_a_service_leads_to_pods_of_all_hosts_who_see_who_asks(open_network: Pods, family: int) -> None:
    open_network.offer(family, "web", "far")
    seen = {tuple(open_network.ask("shop", SERVICE[family])) for _ in range(20)}
    shop = open_network.address("shop", family)
    assert seen == {("web", shop), ("far", shop)}


@FAMILIES
def test_policy_judges_who_asks_a_service_by_its_own_address(open_network: Pods, family: int) -> None:
    open_network.offer(family, "far")
    open_network.running.set(policy("far", "far", ingress=[from_app("shop")]))
    assert open_network.ask("shop", SERVICE[family])[:1] == ["far"]
    assert open_network.ask("web", SERVICE[family]) == []
    to_web = {"to": [{"podSelector": {"matchLabels": {"app": "web"}}}]}
    open_network.running.set(policy("shop", "shop", egress=[to_web]))
    assert open_network.ask("shop", SERVICE[family]) == []
    assert open_network.ask("web", SERVICE[family])[:1] == ["far"]


@FAMILIES
def test_a_pod_reaches_itself_by_its_service(open_network: Pods, family: int) -> None:
    open_network.offer(family, "web")
    assert open_network.ask("web", SERVICE[family]) == ["web", open_network.gateway(family)]


@FAMILIES
def test_a_host_reaches_pods_of_others_by_their_service(open_network: Pods, family: int) -> None:
    open_network.offer(family, "far")
    way = ("-n", open_network.netns("h1"), f"-{family}", "route")  # a node has a default route
    kernel.run("ip", *way, "add", SERVICE[family], "dev", UPLINK)
    assert open_network.ask("h1", SERVICE[family]) == ["far", open_network.gateway(family)]
    kernel.run("ip", *way, "delete", SERVICE[family])


def test_a_port_of_a_node_leads_to_pods_of_others_and_back(open_network: Pods) -> None:
    open_network.offer(4, "far")
    switch = open_network.netns(SWITCH)
    kernel.run("ip", "-n", switch, "address", "add", OUTSIDE, "dev", "br0")
    try:
        assert open_network.ask(SWITCH, H1, NODE_PORT) == ["far", open_network.gateway(4)]
    finally:
        kernel.run("ip", "-n", switch, "address", "del", OUTSIDE, "dev", "br0")
