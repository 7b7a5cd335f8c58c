"""Files of manifests, YAML or JSON, taken apart into objects. Pure.

A file may hold several documents and lists; objects of kinds that policy knows nothing of are left out.
"""

import json
from collections.abc import Iterable, Iterator

import yaml

from weave.npc.manifest import is_known
from weave.npc.manifest_fields import ManifestError
from weave.npc.source import Identity, Object, identity_of

SHOWN_CHARACTERS = 200
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_objects(octets: bytes, *, is_json: bool) -> dict[Identity, Object]:
    """Return the objects of a file; raise `ManifestError`, in a line, for one that is not what it should be."""
    found: dict[Identity, Object] = {}
    try:
        documents: Iterable[object] = [json.loads(octets)] if is_json else yaml.load_all(octets, Loader=_Loader)
        for document in documents:
            for value in _unpacked(document):
                identity = identity_of(value)
                if identity is None or not isinstance(value, dict):
                    raise ManifestError("it holds something without kind or metadata.name")
                if is_known(value):
                    found[identity] = value
    except (ValueError, RecursionError, yaml.YAMLError) as exc:
        raise ManifestError(" ".join(str(exc).split())[:SHOWN_CHARACTERS]) from exc
    return found


def _unpacked(document: object) -> Iterator[object]:
    """Give the objects of a document, which may be a list of them, or empty."""
    if document is None:
        return
    if isinstance(document, dict) and isinstance(document.get("items"), list):
        yield from document["items"]
    else:
        yield document
