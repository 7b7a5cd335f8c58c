"""Where pods are: the source's word and the router's put together."""

from dataclasses import replace
from ipaddress import ip_address

import pytest

from weave.errors import RemoteError
from weave.labels import POD_NAME, POD_NAMESPACE
from weave.npc.compiler import Local
from weave.npc.endpoint import GRACE_S, HOST, Endpoint, EndpointBook, read_endpoints
from weave.npc.manifest_fields import MAX_NAME_CHARACTERS
from weave.npc.model import Cluster, ContainerPort, Key, Namespace, Pod, Protocol
from weave.npc.placement import Mode, Placement

ONE, TWO, THREE = (ip_address(f"10.32.0.{number}") for number in (1, 2, 3))
WEB = Key("x", "web")
SPACES = {"x": Namespace("x", {})}
OF_POD = {POD_NAMESPACE: "x", POD_NAME: "web"}


def endpoint(container: str, *addresses: object, is_local: bool = True, mac: str = "", **labels: str) -> Endpoint:
    return Endpoint(mac or f"mac of {container}", container, tuple(map(ip_address, addresses)), is_local, "h1", labels)


def elsewhere(container: str, address: object, host: str, peer: str = "p", **labels: str) -> Endpoint:
    return replace(endpoint(container, address, is_local=False, **labels), host=host, peer=peer)


def raw(**changes: object) -> dict[str, object]:
    return {"mac": "02:00:00:00:00:01", "container": "c", "interface": "ethwe", "addresses": ["10.32.0.1/12"],
            "peer": "p", "nickname": "h1", "local": True, "labels": {"app": "web"}, **changes}


def test_a_pod_has_the_addresses_of_its_endpoints() -> None:
    cluster = Cluster({WEB: Pod("x", "web", {}, ())}, SPACES)
    placed = Placement(Mode.KUBERNETES).place(cluster, [endpoint("c", ONE, **OF_POD)])
    assert placed.local == Local({WEB: (ONE,)})
    assert placed.cluster.pods[WEB].addresses == (ONE,)


def test_a_pod_that_moved_is_where_the_source_says_while_its_old_sandbox_is_here() -> None:
    cluster = Cluster({WEB: Pod("x", "web", {}, (TWO,))}, SPACES)
    placed = Placement(Mode.KUBERNETES).place(cluster, [endpoint("c", ONE, **OF_POD)])
    assert placed.cluster.pods[WEB].addresses == (ONE, TWO)
    assert placed.local == Local({WEB: (ONE,)})


@pytest.mark.parametrize("labels", [{}, {POD_NAMESPACE: "x", POD_NAME: "other"}])
def test_an_address_that_the_source_still_tells_of_a_pod_is_anothers_once_the_router_says_so(
        labels: dict[str, str]) -> None:
    cluster = Cluster({WEB: Pod("x", "web", {}, (TWO,))}, SPACES)
    placed = Placement(Mode.KUBERNETES).place(cluster, [endpoint("c", ONE, **OF_POD), endpoint("d", TWO, **labels)])
    assert placed.cluster.pods[WEB].addresses == (ONE,)


def test_a_pod_that_nobody_told_is_not_admitted() -> None:
    placed = Placement(Mode.KUBERNETES).place(Cluster(), [endpoint("c", ONE, **OF_POD), endpoint("plain", TWO)])
    assert placed.local == Local(others=frozenset({TWO}))
    assert placed.pending == {WEB}


def test_a_pod_whose_namespace_nobody_told_is_not_admitted() -> None:
    placement, told = Placement(Mode.KUBERNETES), Cluster({WEB: Pod("x", "web", {}, ())}, SPACES)
    for cluster, pods, pending in ((replace(told, namespaces={}), {}, {WEB}), (told, {WEB: (ONE,)}, set()),
                                   (replace(told, namespaces={}), {}, {WEB})):
        placed = placement.place(cluster, [endpoint("c", ONE, **OF_POD)])
        assert (placed.local, placed.pending) == (Local(pods), pending)


def test_pods_of_other_hosts_are_as_the_source_says() -> None:
    cluster = Cluster({WEB: Pod("x", "web", {}, (TWO,))})
    placed = Placement(Mode.KUBERNETES).place(cluster, [endpoint("c", ONE, is_local=False, **OF_POD)])
    assert placed.cluster.pods is cluster.pods
    assert placed.local == Local()


def test_containers_are_pods_with_their_labels_where_nobody_knows_pods() -> None:
    cluster = Cluster({Key("default", "c"): Pod("default", "c", {}, (), (ContainerPort("web", 80, Protocol.TCP),))})
    placed = Placement(Mode.CONTAINERS).place(cluster, [
        endpoint("c", ONE, app="web"), endpoint("c", TWO, mac="second", app="web"),
        endpoint("far", THREE, is_local=False, **{"weave.local/namespace": "y"}), endpoint(HOST, "10.32.0.9")])
    assert placed.cluster.pods == {
        Key("default", "c"): Pod("default", "c", {"app": "web"}, (ONE, TWO), (ContainerPort("web", 80, Protocol.TCP),),
                                 "h1"),
        Key("y", "far"): Pod("y", "far", {"weave.local/namespace": "y"}, (THREE,), (), "h1")}
    assert placed.local == Local({Key("default", "c"): (ONE, TWO)}, frozenset({ip_address("10.32.0.9")}))
    assert placed.cluster.namespaces["y"].labels == {"kubernetes.io/metadata.name": "y"}


def test_containers_of_one_name_on_several_hosts_are_pods_of_their_own() -> None:
    placed = Placement(Mode.CONTAINERS).place(Cluster(), [
        endpoint("blue", ONE, app="web"), elsewhere("blue", TWO, "h2", role="admin"), elsewhere("far", THREE, "h2")])
    assert {str(key): (pod.labels, pod.addresses) for key, pod in placed.cluster.pods.items()} == {
        "default/blue": ({"app": "web"}, (ONE,)), "default/blue@h2": ({"role": "admin"}, (TWO,)),
        "default/far": ({}, (THREE,))}
    assert placed.local == Local({Key("default", "blue"): (ONE,)})


def test_hosts_of_one_nickname_and_containers_called_as_if_of_another_host_are_told_apart() -> None:
    placed = Placement(Mode.CONTAINERS).place(Cluster(), [
        elsewhere("blue", ONE, "h2", "p2"), elsewhere("blue", TWO, "h2", "p3"),
        elsewhere("blue@h2", THREE, "h4", "p4")])
    assert {key.name: pod.addresses for key, pod in placed.cluster.pods.items()} == {
        "blue@h2": (ONE,), "blue@h2@p3": (TWO,), "blue@h2@p4": (THREE,)}


def test_names_too_long_for_a_manifest_are_cut_and_told_apart() -> None:
    name, long = "b" * 200, "n" * 255
    containers = [endpoint(name, ONE), elsewhere(name, TWO, long, "p2"), elsewhere(name, THREE, long, "p3"),
                  elsewhere(f"{long}1", "10.32.0.4", "h2"), elsewhere(f"{long}2", "10.32.0.5", "h2")]
    first, again = (Placement(Mode.CONTAINERS).place(Cluster(), containers).cluster.pods for _ in range(2))
    assert first == again
    assert len(first) == len(containers)
    assert all(len(key.name) <= MAX_NAME_CHARACTERS and len(pod.node or "") <= MAX_NAME_CHARACTERS
               for key, pod in first.items())
    assert first[Key("default", name)].addresses == (ONE,)


def test_manifests_name_the_ports_of_all_containers_of_a_name() -> None:
    ports = (ContainerPort("web", 80, Protocol.TCP),)
    cluster = Cluster({Key("default", "blue"): Pod("default", "blue", {}, (), ports)})
    placed = Placement(Mode.CONTAINERS).place(cluster, [elsewhere("blue", ONE, "h2"), elsewhere("blue", TWO, "h3")])
    assert {key.name: pod.ports for key, pod in placed.cluster.pods.items()} == {"blue@h2": ports, "blue@h3": ports}


@pytest.mark.parametrize("mode", Mode)
def test_what_did_not_change_is_the_same_object(mode: Mode) -> None:
    placement, cluster = Placement(mode), Cluster({WEB: Pod("x", "web", {}, ())}, SPACES)
    first = placement.place(cluster, [endpoint("c", ONE, **OF_POD)])
    second = placement.place(cluster, [endpoint("c", ONE, **OF_POD)])
    assert second.cluster.pods[WEB] is first.cluster.pods[WEB]
    assert second.cluster.namespaces is first.cluster.namespaces


# Endpoints

def test_endpoints_are_read_as_the_router_tells_them() -> None:
    generation, [found] = read_endpoints({"generation": 3, "endpoints": [raw()]})
    assert generation == 3
    assert found == Endpoint("02:00:00:00:00:01", "c", (ONE,), is_local=True, host="h1", labels={"app": "web"},
                             peer="p")
    assert found.key == Key("default", "c")


@pytest.mark.parametrize("value", [None, {}, {"endpoints": []}, {"generation": "1", "endpoints": []},
                                   {"generation": 1, "endpoints": [raw(addresses=["x"])]},
                                   {"generation": 1, "endpoints": [raw(labels=None)]},
                                   {"generation": 1, "endpoints": [{}]}, {"generation": 1, "endpoints": ["x"]}])
def test_answers_that_hold_no_endpoints_are_refused(value: object) -> None:
    with pytest.raises(RemoteError):
        read_endpoints(value)


def test_other_hosts_endpoints_outlive_a_restart_of_the_router_for_a_while() -> None:
    book = EndpointBook()
    near, far = endpoint("near", ONE), endpoint("far", TWO, is_local=False)
    book.take([near, far])
    book.restarted(100.0)
    book.take([])
    assert book.endpoints(101.0) == [far]
    assert book.deadline() == 100.0 + GRACE_S
    assert book.endpoints(100.0 + GRACE_S) == []
    assert book.deadline() is None


def test_what_the_router_tells_anew_counts_at_once() -> None:
    book = EndpointBook()
    far = endpoint("far", TWO, is_local=False)
    book.take([far])
    book.restarted(100.0)
    moved = replace(far, addresses=(THREE,))
    book.take([moved])
    assert book.endpoints(101.0) == [moved]


def test_an_endpoint_that_did_not_change_is_the_same_object() -> None:
    book = EndpointBook()
    book.take([endpoint("c", ONE)])
    [before] = book.endpoints(0.0)
    book.take([endpoint("c", ONE)])
    assert book.endpoints(0.0)[0] is before
