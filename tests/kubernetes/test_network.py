"""Pods on three nodes, with our plugin: addresses, services, names, and what happens when things break."""

import ipaddress
import json
from contextlib import suppress

from tests.kubernetes.conftest import ready
from tests.kubernetes.testbed import POD_RANGE, Cluster, KubernetesError, wait_for
from tests.kubernetes.workload import HTTP, Workload, pod

RANGE = ipaddress.ip_network(POD_RANGE)
OUTAGE_S = 60.0
RETURN_S = 180.0
COUNTER = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done | nc {server} 9000"


def router_of(cluster: Cluster, node: str) -> str:
    """Return the pod of the router of a node."""
    return next(str(item["metadata"]["name"])
                for item in cluster.objects("pods", "-n", "kube-system", "-l", "name=weave-net")
                if item["spec"]["nodeName"] == node)


def status(cluster: Cluster, node: str) -> dict:  # type: ignore[type-arg]
    """Return the report of the router of a node, asked as an operator would."""
    return dict(json.loads(cluster.inside(router_of(cluster, node), "weave", "report", container="weave",
                                          namespace="kube-system")))


def all_is_as_before(workload: Workload) -> None:
    """Wait until the pods of a node that returned are there, and everybody reaches everybody; pods are new ones."""
    def look() -> None:
        workload.look()
        everybody_reaches_everybody(workload)
    wait_for(look, lambda _: True, "not everybody is reached by everybody", RETURN_S)


def everybody_reaches_everybody(workload: Workload) -> None:
    assert len(set(workload.addresses.values())) == len(workload.cluster.nodes)
    for source, destination in workload.pairs():
        seen = workload.fetch(source, f"{workload.addresses[destination]}:{HTTP}/hostname")
        assert seen == workload.names[destination]


def test_01_nodes_get_ready_by_our_plugin(cluster: Cluster) -> None:
    for node in cluster.nodes:
        assert "10-weave.conflist" in cluster.on(node, "ls", "/etc/cni/net.d")


def test_02_pods_have_unique_addresses_of_the_range(workload: Workload) -> None:
    addresses = [ipaddress.ip_address(text) for text in workload.addresses.values()]
    assert len(set(addresses)) == len(workload.cluster.nodes)
    assert all(address in RANGE for address in addresses)


def test_03_pods_reach_each_other_by_address(workload: Workload) -> None:
    everybody_reaches_everybody(workload)


def test_04_pods_see_the_address_of_who_asks(workload: Workload) -> None:
    for source, destination in workload.pairs():
        seen = workload.fetch(source, f"{workload.addresses[destination]}:{HTTP}/clientip")
        assert seen.rpartition(":")[0] == workload.addresses[source]


def test_05_a_trace_of_two_pods_is_told_by_the_routers_of_both(workload: Workload) -> None:
    source, destination = "n1", "n2"
    router = router_of(workload.cluster, "n3")
    told = json.loads(workload.cluster.inside(
        router, "weave", "trace", f"default/{workload.names[source]}", f"default/{workload.names[destination]}",
        f"tcp/{HTTP}", "--json", container="weave", namespace="kube-system"))
    assert (told["From"]["Address"], told["To"]["Address"]) == (
        workload.addresses[source], workload.addresses[destination])
    assert [leg["NickName"] for leg in told["Legs"]] == [source, destination]
    steps = [(step["Step"], step["State"]) for leg in told["Legs"] for step in leg["Steps"]]
    way = ["container", "route", "neighbour", "forwarding", "link"]
    assert steps == [(name, "ok") for name in (*way, "policy", *way)]


def test_06_a_service_reaches_every_pod_behind_it(workload: Workload) -> None:
    service = workload.cluster.objects("service", "web")[0]["spec"]["clusterIP"]
    for node in workload.names:
        seen = {workload.fetch(node, f"{service}:80/hostname") for _ in range(16)}
        assert seen == set(workload.names.values())
        who = {workload.fetch(node, f"{service}:80/clientip").rpartition(":")[0] for _ in range(12)}
        assert workload.addresses[node] in who, "who is behind a service sees who asks, but the one who asks itself"


def test_07_nodes_reach_pods_and_pods_reach_nodes(workload: Workload) -> None:
    cluster = workload.cluster
    for node in cluster.nodes:
        for address in workload.addresses.values():
            assert cluster.on(node, "curl", "-sS", "-m", "3", f"http://{address}:{HTTP}/hostname")
        kubelet = cluster.address(node)
        cluster.inside(workload.names["n1"], "nc", "-z", "-w", "3", kubelet, "10250")


def test_08_node_ports_work_on_every_node_and_local_ones_keep_the_source(workload: Workload) -> None:
    cluster = workload.cluster
    cluster.apply("""
apiVersion: v1
kind: Service
metadata: {name: outside}
spec:
  type: NodePort
  externalTrafficPolicy: Local
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
---
apiVersion: v1
kind: Service
metadata: {name: outside-cluster}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, targetPort: 8080, nodePort: 30081}]}
""")
    for node in cluster.nodes:
        url = f"http://{cluster.address(node)}:30081/hostname"
        wait_for(lambda url=url: cluster.in_lab("curl", "-sS", "-m", "3", url),  # type: ignore[misc]
                 lambda seen: seen in workload.names.values(), f"no answer at {url}", 20)
        seen = wait_for(lambda node=node: cluster.in_lab(  # type: ignore[misc]
            "curl", "-sS", "-m", "3", f"http://{cluster.address(node)}:30080/clientip"), bool, "no answer", 20)
        assert seen.rpartition(":")[0] == "172.31.0.1"
    cluster.kubectl("delete", "service", "outside", "outside-cluster")


def test_09_a_host_port_leads_to_its_pod(workload: Workload) -> None:
    cluster = workload.cluster
    cluster.apply(pod("hostport", "n2", ("/agnhost", "netexec", "--http-port=8080"), labels="{app: hostport}",
                      ports="[{containerPort: 8080, hostPort: 9080}]"))
    workload.ready_pods("app=hostport", 1)
    url = f"http://{cluster.address('n2')}:9080/hostname"
    wait_for(lambda: cluster.in_lab("curl", "-sS", "-m", "3", url), lambda seen: seen == "hostport",
             "the host port does not answer", 20)
    assert workload.fetch("n1", f"{cluster.address('n2')}:9080/hostname") == "hostport"
    cluster.kubectl("delete", "pod", "hostport", "--wait")


def test_10_pods_find_each_other_by_weave_dns(workload: Workload) -> None:
    cluster = workload.cluster
    bridge = {node: json.loads(cluster.on(node, "ip", "-j", "-4", "address", "show", "dev", "weave"))
              for node in cluster.nodes}
    for source, destination in workload.pairs():
        [link] = bridge[source]
        server = link["addr_info"][0]["local"]
        name = f"{workload.names[destination]}.default.weave.local"
        seen = cluster.inside(workload.names[source], "nslookup", name, server)
        assert workload.addresses[destination] in seen


def test_11_a_burst_of_pods_starts_and_leaves_nothing(workload: Workload) -> None:
    cluster, count = workload.cluster, 30
    before = {node: len(status(cluster, node)["Endpoints"]) for node in ("n1",)}
    cluster.apply("".join(pod(f"burst-{number}", cluster.nodes[number % len(cluster.nodes)], ("/agnhost", "pause"),
                              labels="{app: burst}") for number in range(count)))
    pods = workload.ready_pods("app=burst", count, 240)
    addresses = {item["status"]["podIP"] for item in pods}
    assert len(addresses) == count
    cluster.kubectl("delete", "pods", "-l", "app=burst", "--wait", deadline_s=240)
    wait_for(lambda: len(status(cluster, "n1")["Endpoints"]), lambda left: left <= before["n1"],
             "endpoints of pods that are gone", 60)
    for node in cluster.nodes:
        assert cluster.on(node, "sh", "-c", "ls /sys/class/net | grep -c vethwe").strip() != "0"


def test_12_a_rolling_restart_breaks_no_connection(workload: Workload) -> None:
    cluster = workload.cluster
    cluster.apply(pod("ears", "n1", ("sh", "-c", "nc -l -p 9000 > /tmp/heard"), labels="{app: talk}"))
    [ears] = workload.ready_pods("app=talk", 1)
    say = COUNTER.format(server=ears["status"]["podIP"])
    cluster.apply(pod("mouth", "n2", ("sh", "-c", say), labels="{app: talk}"))
    workload.ready_pods("app=talk", 2)
    wait_for(lambda: _heard(cluster), lambda heard: heard > 5, "nothing is heard", 20)
    cluster.kubectl("-n", "kube-system", "rollout", "restart", "daemonset/weave-net")
    ready(cluster)
    before = _heard(cluster)
    wait_for(lambda: _heard(cluster), lambda heard: heard > before + 20, "the connection broke", 20)
    talking = cluster.objects("pods", "-l", "app=talk")
    assert [item["status"]["phase"] for item in talking] == ["Running", "Running"]
    cluster.kubectl("delete", "pods", "-l", "app=talk", "--wait")


def _heard(cluster: Cluster) -> int:
    return int(cluster.inside("ears", "tail", "-n", "1", "/tmp/heard").strip() or 0)


def test_13_an_outage_of_the_api_server_is_survived(workload: Workload) -> None:
    cluster = workload.cluster
    cluster.pause("kube-apiserver")
    try:
        for source, destination in workload.pairs():
            address = workload.addresses[destination]
            netns = netns_of(cluster, source, workload.addresses[source])
            cluster.on(source, "ip", "netns", "exec", netns,
                       "curl", "-sS", "-m", "3", f"http://{address}:{HTTP}/hostname")
    finally:
        cluster.pause("kube-apiserver", paused=False)
    wait_for(lambda: cluster.objects("nodes"), bool, "the API server does not come back", OUTAGE_S)
    cluster.apply(pod("after", "n3", ("/agnhost", "pause"), labels="{app: after}"))
    workload.ready_pods("app=after", 1)
    cluster.kubectl("delete", "pod", "after", "--wait")


def netns_of(cluster: Cluster, node: str, address: str) -> str:
    """Return the network namespace of the pod that has an address; those of pods that end meanwhile are passed over."""
    for name in cluster.on(node, "ls", "/run/netns").split():
        with suppress(KubernetesError):
            if f" {address}/" in cluster.on(node, "ip", "-n", name, "-4", "address"):
                return name
    raise KubernetesError(f"no pod with {address} on {node}")


def test_14_a_node_that_crashes_returns_with_its_identity(workload: Workload) -> None:
    cluster = workload.cluster
    before = status(cluster, "n3")["Router"]["Name"]
    cluster.crash("n3")
    cluster.boot("n3")
    wait_for(lambda: status(cluster, "n3")["Router"]["Name"], lambda name: name == before,
             "the router of the node does not return as itself", 180)
    ready(cluster)
    all_is_as_before(workload)


def test_15_the_space_of_a_deleted_node_is_reclaimed_once(workload: Workload) -> None:
    cluster = workload.cluster
    gone = status(cluster, "n3")["Router"]["Name"]
    cluster.crash("n3")
    cluster.kubectl("delete", "node", "n3")
    seen = wait_for(lambda: [status(cluster, node)["IPAM"]["Entries"] for node in ("n1", "n2")],
                    lambda rings: all(gone not in {row["Peer"] for row in ring} for ring in rings)
                    and rings[0] == rings[1], "the space of the deleted node is not reclaimed", 120)
    assert {row["Peer"] for row in seen[0]} <= {status(cluster, node)["Router"]["Name"] for node in ("n1", "n2")}
    cluster.boot("n3")
    wait_for(lambda: cluster.objects("nodes"), lambda nodes: len(nodes) == len(cluster.nodes),
             "the node does not come back", 120)
    ready(cluster)
    all_is_as_before(workload)


