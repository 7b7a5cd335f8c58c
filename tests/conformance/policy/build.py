"""Manifests in few words."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.conformance.policy.case import Addresses, Manifest, World, identify

Json = dict[str, Any]
Selector = Mapping[str, Any]
TRANSPORTS = ("TCP", "UDP", "SCTP")
NAME = "kubernetes.io/metadata.name"
NAMESPACES, PODS, PORTS = ("x", "y", "z"), ("a", "b", "c"), (80, 81)


def labels(**wanted: str) -> Json:
    """Select by labels."""
    return {"matchLabels": wanted}


def expression(key: str, operator: str, *values: str) -> Json:
    """Select by one expression."""
    return {"matchExpressions": [{"key": key, "operator": operator, **({"values": list(values)} if values else {})}]}


def namespace(name: str, wanted: Mapping[str, str] | None = None) -> Manifest:
    """A namespace of the grid; unless told otherwise it has its name as label `ns`."""
    return {"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "labels": {NAME: name, **({"ns": name} if wanted is None else wanted)}}}


def pod(where: str, address: str, wanted: Mapping[str, str] | None = None,
        ports: Sequence[tuple[str, int]] | None = None, names: Mapping[tuple[str, int], str] | None = None) -> Manifest:
    """A pod; unless told otherwise it has its name as label `pod`, and the six named ports of the grid."""
    space, name = where.split("/")
    listed = ports or [(protocol, port) for port in PORTS for protocol in TRANSPORTS]
    called = names if names is not None else {(protocol, port): f"serve-{port}-{protocol.lower()}"
                                              for protocol, port in listed}
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": space, "name": name, "labels": {"pod": name} if wanted is None else dict(wanted)},
            "spec": {"containers": [{"name": "serve", "ports": [
                {"protocol": protocol, "containerPort": port,
                 **({"name": called[protocol, port]} if (protocol, port) in called else {})}
                for protocol, port in listed]}]},
            "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}}


def world(*manifests: Manifest) -> World:
    return {identify(manifest): manifest for manifest in manifests}


def grid(addresses: Addresses) -> World:
    """Namespaces x, y, z with pods a, b, c each: what cyclonus and Netpol play with."""
    return world(*(namespace(name) for name in NAMESPACES),
                 *(pod(f"{space}/{name}", addresses(f"{space}/{name}")) for space in NAMESPACES for name in PODS))


def some_addresses(where: str) -> str:
    """Addresses of a grid that is not real: one /24, a namespace's pods share a /28."""
    spaces = {"x": 0, "y": 1, "z": 2, "y-2": 3, "w": 4}
    space, name = where.split("/")
    return f"10.32.0.{16 * spaces[space] + 'abcd'.index(name) + 1}"


def policy(space: str, name: str, pods: Selector, ingress: Sequence[Json] | None = None,
           egress: Sequence[Json] | None = None) -> Manifest:
    """A NetworkPolicy that governs the directions it has rules for."""
    spec: Json = {"podSelector": pods, "policyTypes": []}
    for kind, rules in (("Ingress", ingress), ("Egress", egress)):
        if rules is not None:
            spec["policyTypes"].append(kind)
            spec[kind.lower()] = list(rules)
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"namespace": space, "name": name}, "spec": spec}


def port(number: int | str | None = None, protocol: str | None = None, end: int | None = None) -> Json:
    wanted = {"port": number, "protocol": protocol, "endPort": end}
    return {key: value for key, value in wanted.items() if value is not None}


def block(cidr: str, *excepts: str) -> Json:
    return {"ipBlock": {"cidr": cidr, **({"except": list(excepts)} if excepts else {})}}


def peer(pods: Selector | None = None, spaces: Selector | None = None) -> Json:
    return {**({"podSelector": pods} if pods is not None else {}),
            **({"namespaceSelector": spaces} if spaces is not None else {})}
