"""Kinds of objects, and where the API server keeps them."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

Object = Mapping[str, object]
"""One object as decoded from JSON; read it through the functions below, it comes from outside."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of objects."""

    group: str
    """Empty for the core group."""
    version: str
    plural: str
    kind: str

    def path(self, namespace: str | None = None, name: str | None = None, sub: str | None = None) -> str:
        """Return the path of the whole kind, of a namespace's part of it, or of one object."""
        words = ["api", self.version] if not self.group else ["apis", self.group, self.version]
        words += ["namespaces", namespace] if namespace else []
        words += [self.plural, *([name] if name else []), *([sub] if sub else [])]
        return "".join(f"/{quote(word, safe='')}" for word in words)


PODS = Resource("", "v1", "pods", "Pod")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace")
NODES = Resource("", "v1", "nodes", "Node")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
EVENTS = Resource("", "v1", "events", "Event")
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
CLUSTER_NETWORK_POLICIES = Resource(
    "policy.networking.k8s.io", "v1alpha2", "clusternetworkpolicies", "ClusterNetworkPolicy")


def mapping(value: object) -> Mapping[str, object]:
    """Return an object's field as a map, an empty one where it is none."""
    return value if isinstance(value, dict) else {}


def sequence(value: object) -> list[object]:
    """Return an object's field as a list, an empty one where it is none."""
    return value if isinstance(value, list) else []


def text(value: object) -> str:
    """Return an object's field as text, empty where it is none."""
    return value if isinstance(value, str) else ""


def metadata(value: object) -> Mapping[str, object]:
    """Return the metadata of an object."""
    return mapping(mapping(value).get("metadata"))


def key_of(value: object) -> str | None:
    """Return `namespace/name`, or the name of what lies in no namespace; None for what has no name."""
    meta = metadata(value)
    name, namespace = text(meta.get("name")), text(meta.get("namespace"))
    if not name:
        return None
    return f"{namespace}/{name}" if namespace else name


def version_of(value: object) -> str:
    """Return the resource version of an object or a list; it is compared for equality alone."""
    return text(metadata(value).get("resourceVersion"))
