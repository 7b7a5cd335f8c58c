"""What somebody says about a container, as `key=value`: which pod it is, which namespace it belongs to.

Keys and values have the syntax of Kubernetes labels, except that a value may be as long as the name of a pod. Labels
travel with the endpoint to every peer, so that their number and their sum are bounded.
"""

import re
from collections.abc import Iterable, Mapping

from weave.errors import LocalError

MAX_LABELS = 64
MAX_KEY_CHARACTERS = 317
"""A DNS subdomain of 253, a slash, and a name of 63."""
MAX_VALUE_CHARACTERS = 253
"""The name of a pod; Kubernetes itself lets the value of a label have 63."""
MAX_LABELS_CHARACTERS = 8192
"""Of all keys and values of one container: its entry in gossip goes to every peer."""
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_NAME = "io.kubernetes.pod.name"
"""What the CNI plugin notes of a pod; the kubelet calls it so for container runtimes."""
NAMESPACE = "weave.local/namespace"
"""Where a container that Kubernetes does not know belongs."""
DEFAULT_NAMESPACE = "default"
_PREFIX = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?", re.ASCII)
_MAX_NAME_CHARACTERS = 63

Labels = Mapping[str, str]


def pod_of(labels: Labels) -> tuple[str, str] | None:
    """Return namespace and name of the pod that a container belongs to; None for what Kubernetes does not know."""
    namespace, name = labels.get(POD_NAMESPACE), labels.get(POD_NAME)
    return (namespace, name) if namespace and name else None


def namespaced(labels: Labels, container: str) -> tuple[str, str]:
    """Return namespace and name of a container where every container is a pod."""
    return pod_of(labels) or (labels.get(NAMESPACE) or DEFAULT_NAMESPACE, container)


def check_labels(labels: Labels) -> dict[str, str]:
    """Return the labels sorted by key; raise `LocalError` for what is no label, or for too many of them."""
    if len(labels) > MAX_LABELS:
        raise LocalError(f"{len(labels)} labels are too many: a container may have {MAX_LABELS}")
    for key, value in labels.items():
        if not _is_key(key):
            raise LocalError(f"{key[:80]!r} is no key of a label; write it like app or example.com/app")
        if value and not (len(value) <= MAX_VALUE_CHARACTERS and _WORD.fullmatch(value)):
            raise LocalError(f"{value[:80]!r} is no value of a label: up to {MAX_VALUE_CHARACTERS} letters, digits, "
                             "'-', '_' and '.', beginning and ending with a letter or digit")
    if sum(len(key) + len(value) for key, value in labels.items()) > MAX_LABELS_CHARACTERS:
        raise LocalError(f"the labels of one container may have {MAX_LABELS_CHARACTERS} characters in all")
    return dict(sorted(labels.items()))


def parse_labels(texts: Iterable[str]) -> dict[str, str]:
    """Return labels written `key=value`; raise `LocalError` for what is none, or for a key that comes twice."""
    labels: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise LocalError(f"{text[:80]!r} is no label; write it like app=web")
        if labels.setdefault(key, value) != value:
            raise LocalError(f"the label {key[:80]!r} is given twice, as {labels[key][:80]!r} and {value[:80]!r}")
    return check_labels(labels)


def _is_key(key: str) -> bool:
    prefix, slash, name = key.rpartition("/")
    return (len(name) <= _MAX_NAME_CHARACTERS and bool(_WORD.fullmatch(name))
            and (not slash or bool(_PREFIX.fullmatch(prefix))))
