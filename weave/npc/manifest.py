"""Manifests as Kubernetes has them, decoded from JSON or YAML, read into values of the model.

One door, `parse`: it knows pods, namespaces, nodes and both kinds of policy. An object that cannot be what it says it
is raises `ManifestError`. A policy whose name is known never does: what of it is not understood fails closed, and its
`problems` say so (see `manifest_policy`), because a policy that is left out would open what its author wants closed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from weave.addresses import IPAddress, parse_address
from weave.errors import LocalError
from weave.npc.manifest_fields import (
    Fields,
    ManifestError,
    fields,
    items,
    labels,
    number,
    plain_name,
    quoted,
    tame_name,
    text,
    truth,
)
from weave.npc.manifest_policy import parse_cluster_policy, parse_network_policy
from weave.npc.model import (
    Cluster,
    ClusterPolicy,
    ContainerPort,
    Key,
    Namespace,
    NetworkPolicy,
    Node,
    Pod,
    Protocol,
)

Manifest = Pod | Namespace | Node | NetworkPolicy | ClusterPolicy
NAME_LABEL = "kubernetes.io/metadata.name"
"""The label that the API server gives every namespace; old ones (before 1.21) do not."""
DEFAULT_NAMESPACE = "default"
_FINISHED = ("Succeeded", "Failed")
_NODE_ADDRESSES = ("InternalIP", "ExternalIP")


def parse(manifest: object) -> Manifest:
    """Read one object of any kind that policy depends on; raise `ManifestError` for all others."""
    read = fields(manifest, "the manifest")
    version = text(read.get("apiVersion"), "apiVersion")
    kind = text(read.get("kind"), "kind")
    reader = _READERS.get((version, kind))
    if reader is None:
        raise ManifestError(_unknown(version, kind))
    return reader(read)


def is_known(manifest: Fields) -> bool:
    """Say whether an object is of a kind that `parse` reads, whatever its content.

    Raise `ManifestError` where it cannot be told, and for an object that is called like one of those but is not written
    so (`Networkpolicy`, an apiVersion of another time): left out, it would open what its author wants closed.
    """
    version, kind = text(manifest.get("apiVersion"), "apiVersion"), text(manifest.get("kind"), "kind")
    if (version, kind) in _READERS:
        return True
    if _meant(kind):
        raise ManifestError(_unknown(version, kind))
    return False


def _unknown(version: str, kind: str) -> str:
    known = " or ".join(f"{name}, {of}" for of, name in _meant(kind))
    return (f"policy knows nothing of objects of kind {quoted(kind)}, apiVersion {quoted(version)}"
            f"{f'; write {known}' if known else ''}")


def _meant(kind: str) -> Sequence[tuple[str, str]]:
    """Return what somebody may have meant who wrote this kind."""
    return [known for known in _READERS if _spoken(known[1]) == _spoken(kind)]


def _spoken(kind: str) -> str:
    """Return a kind as it sounds: its letters, in one case and without the s of a plural."""
    letters = "".join(filter(str.isalnum, kind.casefold()))
    return f"{letters[:-3]}y" if letters.endswith("ies") else letters.removesuffix("s")


def parse_pod(manifest: object) -> Pod:
    """Read a pod. One that ran to its end has no addresses: they may be another's by now."""
    read = fields(manifest, "the pod")
    namespace, name, pod_labels = _identity(read)
    spec, status = fields(read.get("spec"), "spec"), fields(read.get("status"), "status")
    is_finished = status.get("phase") in _FINISHED
    return Pod(
        namespace=namespace,
        name=name,
        labels=pod_labels,
        addresses=() if is_finished else _pod_addresses(status),
        ports=_ports(spec),
        node=plain_name(spec["nodeName"], "spec.nodeName") if spec.get("nodeName") else None,
        host_network=truth(spec.get("hostNetwork"), "spec.hostNetwork"),
    )


def parse_namespace(manifest: object) -> Namespace:
    """Read a namespace; it always has the label of its name."""
    metadata = fields(fields(manifest, "the namespace").get("metadata"), "metadata")
    name = plain_name(metadata.get("name"), "metadata.name")
    own = labels(metadata.get("labels"), "metadata.labels")
    return Namespace(name, own if NAME_LABEL in own else dict(sorted({**own, NAME_LABEL: name}.items())))


def parse_node(manifest: object) -> Node:
    """Read a node, with the addresses that are IP addresses."""
    read = fields(manifest, "the node")
    metadata, status = fields(read.get("metadata"), "metadata"), fields(read.get("status"), "status")
    found = set()
    for entry in items(status.get("addresses"), "status.addresses"):
        address = fields(entry, "status.addresses")
        if address.get("type") in _NODE_ADDRESSES:
            found.add(_address(address.get("address"), "status.addresses"))
    return Node(plain_name(metadata.get("name"), "metadata.name"),
                labels(metadata.get("labels"), "metadata.labels"), _in_order(found))


def _network_policy(manifest: object) -> NetworkPolicy:
    read = fields(manifest, "the policy")
    metadata = fields(read.get("metadata"), "metadata")
    name, no_name = _policy_name(metadata.get("name"), "metadata.name")
    policy = parse_network_policy(namespace_of(metadata), name, read.get("spec"))
    return replace(policy, problems=(*no_name, *policy.problems))


def _cluster_policy(manifest: object) -> ClusterPolicy:
    read = fields(manifest, "the policy")
    name, no_name = _policy_name(fields(read.get("metadata"), "metadata").get("name"), "metadata.name")
    policy = parse_cluster_policy(name, read.get("spec"))
    return replace(policy, problems=(*no_name, *policy.problems))


def _policy_name(value: object, where: str) -> tuple[str, Sequence[str]]:
    """Return a policy's name, and what is wrong with it; only a policy without any name is an error."""
    try:
        return plain_name(value, where), ()
    except ManifestError as exc:
        if not isinstance(value, str):
            raise
        return tame_name(value), (f"{exc}; the policy is in force as {tame_name(value)}.",)


def namespace_of(metadata: Fields) -> str:
    """Return the namespace that a pod or a policy says it is in, else the default one.

    It is taken as it is written, also where Kubernetes would not have it so: containers may be in such namespaces. But
    it has no slash, for that ends it where it stands before a name.
    """
    said = metadata.get("namespace")
    if said is None or said == "":
        return DEFAULT_NAMESPACE
    name = plain_name(said, "metadata.namespace")
    if "/" in name:
        raise ManifestError(f"metadata.namespace should have no slash; {quoted(name)} has one")
    return name


def _identity(read: Fields) -> tuple[str, str, Mapping[str, str]]:
    metadata = fields(read.get("metadata"), "metadata")
    return (namespace_of(metadata), plain_name(metadata.get("name"), "metadata.name"),
            labels(metadata.get("labels"), "metadata.labels"))


def _pod_addresses(status: Fields) -> tuple[IPAddress, ...]:
    listed = [fields(entry, "status.podIPs").get("ip") for entry in items(status.get("podIPs"), "status.podIPs")]
    return _in_order({_address(entry, "status.podIPs") for entry in [status.get("podIP"), *listed] if entry})


def _address(value: object, where: str) -> IPAddress:
    try:
        return parse_address(text(value, where))
    except LocalError as exc:
        raise ManifestError(f"{where} should be an IP address, not {quoted(value)}") from exc


def _in_order(addresses: Iterable[IPAddress]) -> tuple[IPAddress, ...]:
    return tuple(sorted(addresses, key=lambda address: (address.version, int(address))))


def _ports(spec: Fields) -> tuple[ContainerPort, ...]:
    """Return the named ports of all containers, and of init containers that go on running beside them."""
    sidecars = [entry for entry in items(spec.get("initContainers"), "spec.initContainers")
                if fields(entry, "spec.initContainers").get("restartPolicy") == "Always"]
    containers = [*items(spec.get("containers"), "spec.containers"), *sidecars]
    found = {port for container in containers for port in _container_ports(container)}
    return tuple(sorted(found, key=lambda port: (port.name, port.protocol.value, port.port)))


def _container_ports(container: object) -> Iterable[ContainerPort]:
    for entry in items(fields(container, "a container").get("ports"), "ports of a container"):
        read = fields(entry, "a container's port")
        if not read.get("name"):
            continue
        try:
            protocol = Protocol(read.get("protocol", "TCP"))
        except ValueError as exc:
            raise ManifestError(f"the protocol of a container's port should be TCP, UDP or SCTP, "
                                f"not {quoted(read['protocol'])}") from exc
        yield ContainerPort(text(read["name"], "the name of a container's port"),
                            number(read.get("containerPort"), "containerPort", 1, 65535), protocol)


_READERS: Mapping[tuple[str, str], Callable[[object], Manifest]] = {
    ("v1", "Pod"): parse_pod,
    ("v1", "Namespace"): parse_namespace,
    ("v1", "Node"): parse_node,
    ("networking.k8s.io/v1", "NetworkPolicy"): _network_policy,
    ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy"): _cluster_policy,
    ("policy.networking.k8s.io/v1beta1", "ClusterNetworkPolicy"): _cluster_policy,
}


def gather(manifests: Sequence[Manifest]) -> Cluster:
    """Return the cluster of these objects; of two with the same name the later one counts."""
    return Cluster(
        pods={Key(one.namespace, one.name): one for one in manifests if isinstance(one, Pod)},
        namespaces={one.name: one for one in manifests if isinstance(one, Namespace)},
        nodes={one.name: one for one in manifests if isinstance(one, Node)},
        policies={Key(one.namespace, one.name): one for one in manifests if isinstance(one, NetworkPolicy)},
        cluster_policies={one.name: one for one in manifests if isinstance(one, ClusterPolicy)},
    )
