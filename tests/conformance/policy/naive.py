"""A second opinion on policy, straight from the specification and from raw manifests, with no code of ours.

It knows valid manifests alone and is slow; being short is its point. The evaluator must agree with it.
"""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

Manifest = Mapping[str, Any]


def allows(manifests: Iterable[Manifest], source: str, destination: str, protocol: str, port: int) -> bool:
    world = list(manifests)
    pods = {f"{pod['metadata']['namespace']}/{pod['metadata']['name']}": pod for pod in world if pod["kind"] == "Pod"}
    client, server = pods[source], pods[destination]
    if source == destination:
        return True
    return (_open(world, client, server, "egress", "to", server, protocol, port)
            and _open(world, server, client, "ingress", "from", server, protocol, port))


def _open(world, subject, peer, direction, peers, server, protocol, port):
    if subject["spec"].get("hostNetwork"):
        return True
    if direction == "ingress" and _is_node_of(world, subject, peer):
        return True
    admin = _tier(world, "Admin", subject, peer, direction, peers, server, protocol, port)
    if admin in ("Accept", "Deny"):
        return admin == "Accept"
    governing = [policy for policy in world if policy["kind"] == "NetworkPolicy"
                 and policy["metadata"]["namespace"] == subject["metadata"]["namespace"]
                 and direction.capitalize() in _types(policy["spec"])
                 and _selects(policy["spec"].get("podSelector"), subject["metadata"].get("labels"))]
    if governing:
        return any(_rule_opens(world, policy, rule, peers, peer, server, protocol, port)
                   for policy in governing for rule in policy["spec"].get(direction) or [])
    return _tier(world, "Baseline", subject, peer, direction, peers, server, protocol, port) != "Deny"


def _types(spec):
    return spec.get("policyTypes") or (["Ingress", "Egress"] if spec.get("egress") else ["Ingress"])


def _rule_opens(world, policy, rule, peers, peer, server, protocol, port):
    return ((not rule.get(peers) or any(_is_peer(world, policy, one, peer) for one in rule[peers]))
            and (not rule.get("ports") or any(_is_port(one, server, protocol, port) for one in rule["ports"])))


def _is_peer(world, policy, wanted, peer):
    if "ipBlock" in wanted:
        block = wanted["ipBlock"]
        return _in(peer, block["cidr"]) and not any(_in(peer, inner) for inner in block.get("except") or [])
    if peer["spec"].get("hostNetwork"):
        return False
    if wanted.get("namespaceSelector") is None:
        is_namespace = peer["metadata"]["namespace"] == policy["metadata"]["namespace"]
    else:
        is_namespace = _selects(wanted["namespaceSelector"], _namespace_labels(world, peer))
    return is_namespace and _selects(wanted.get("podSelector"), peer["metadata"].get("labels"))


def _is_port(wanted, server, protocol, port):
    if wanted.get("protocol", "TCP") != protocol:
        return False
    if isinstance(wanted.get("port"), str):
        return (wanted["port"], protocol, port) in _named(server)
    return "port" not in wanted or wanted["port"] <= port <= wanted.get("endPort", wanted["port"])


def _named(server):
    """Ports of the host's network have no names: they are the node's, whoever listens there."""
    if server["spec"].get("hostNetwork"):
        return []
    return [(one.get("name"), one.get("protocol", "TCP"), one["containerPort"])
            for container in server["spec"]["containers"] for one in container["ports"]]


def _tier(world, tier, subject, peer, direction, peers, server, protocol, port):
    policies = [one for one in world if one["kind"] == "ClusterNetworkPolicy" and one["spec"]["tier"] == tier
                and _is_meant(world, one["spec"]["subject"], subject)]
    for policy in sorted(policies, key=lambda one: (one["spec"]["priority"], one["metadata"]["name"])):
        for rule in policy["spec"].get(direction) or []:
            if any(_is_meant(world, one, peer) for one in rule[peers]) and (
                    "protocols" not in rule
                    or any(_is_protocol(one, server, protocol, port) for one in rule["protocols"])):
                return rule["action"]
    return None


def _is_meant(world, wanted, pod):
    if "networks" in wanted:
        return any(_in(pod, block) for block in wanted["networks"])
    if "nodes" in wanted:
        return any(pod["status"]["podIP"] == address["address"] for node in world if node["kind"] == "Node"
                   and _selects(wanted["nodes"], node["metadata"]["labels"])
                   for address in node["status"]["addresses"])
    if pod["spec"].get("hostNetwork"):
        return False
    pods = wanted.get("pods", {"namespaceSelector": wanted.get("namespaces")})
    return (_selects(pods.get("namespaceSelector"), _namespace_labels(world, pod))
            and _selects(pods.get("podSelector"), pod["metadata"].get("labels")))


def _is_protocol(wanted, server, protocol, port):
    if "destinationNamedPort" in wanted:
        return (wanted["destinationNamedPort"], protocol, port) in _named(server)
    if protocol.lower() not in wanted:
        return False
    ports = wanted[protocol.lower()]["destinationPort"]
    return port == ports["number"] if "number" in ports else ports["range"]["start"] <= port <= ports["range"]["end"]


def _is_node_of(world, pod, peer):
    return any(pod["spec"].get("nodeName") == node["metadata"]["name"] and peer["spec"].get("hostNetwork")
               and peer["status"]["podIP"] in [address["address"] for address in node["status"]["addresses"]]
               for node in world if node["kind"] == "Node")


def _namespace_labels(world, pod):
    name = pod["metadata"]["namespace"]
    found = [one for one in world if one["kind"] == "Namespace" and one["metadata"]["name"] == name]
    return {"kubernetes.io/metadata.name": name, **found[0]["metadata"].get("labels", {})} if found else {}


def _selects(selector, labels):
    selector, labels = selector or {}, labels or {}
    return (all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
            and all({"In": labels.get(one["key"]) in one.get("values", []),
                     "NotIn": labels.get(one["key"]) not in one.get("values", []),
                     "Exists": one["key"] in labels,
                     "DoesNotExist": one["key"] not in labels}[one["operator"]]
                    for one in selector.get("matchExpressions") or []))


def _in(pod, block):
    return bool(pod["status"].get("podIP")) and ip_address(pod["status"]["podIP"]) in ip_network(block, strict=False)
