"""Files of manifests, YAML or JSON, taken apart into objects. Pure.

A file may hold several documents and lists; objects of kinds that policy knows nothing of are left out. A few lines of
YAML can mean a million values, by references and by merge keys: the former are bounded, the latter are refused.
"""

import json
from collections.abc import Iterable, Iterator

import yaml

from weave.npc.manifest import is_known
from weave.npc.manifest_fields import ManifestError, require_bounded
from weave.npc.source import Identity, Object, identity_of

SHOWN_CHARACTERS = 200


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # mypy cannot know which
    """Reads YAML without merge keys, which multiply before anybody can count."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuse what would have to be merged."""
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise ManifestError("it uses a merge key (<<), which this version does not read; write out what it means")


def read_objects(octets: bytes, *, is_json: bool) -> dict[Identity, Object]:
    """Return the objects of a file; raise `ManifestError`, in a line, for one that is not what it should be."""
    found: dict[Identity, Object] = {}
    try:
        documents: Iterable[object] = [json.loads(octets)] if is_json else yaml.load_all(octets, Loader=_Loader)
        for document in documents:
            for value in _unpacked(document):
                identity = identity_of(value)
                if identity is None or not isinstance(value, dict):
                    raise ManifestError("it holds something without kind or metadata.name, or with a "
                                        "metadata.namespace that is no name; put numbers in quotes")
                if is_known(value):
                    require_bounded(value, str(identity))
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
