"""Files of manifests, YAML or JSON, taken apart into objects. Pure.

A file may hold several documents and lists; objects of kinds that policy knows nothing of are left out, but not those
whose kind or apiVersion looks mistyped: they are refused, and with them the file. A few lines of YAML can mean a
million values, by references and by merge keys: the former are bounded, the latter are refused. What is read can be
told as JSON, for so it is told to whoever asks the controller: dates are texts, as kubectl has them, and what JSON has
no word for is refused.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import yaml

from weave.npc.manifest import is_known, parse
from weave.npc.manifest_fields import ManifestError, quoted, require_bounded
from weave.npc.source import Identity, Object, identity_of

SHOWN_CHARACTERS = 300


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # mypy cannot know which
    """Reads YAML without merge keys, which multiply before anybody can count."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Refuse what would have to be merged."""
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise ManifestError("it uses a merge key (<<), which this version does not read; write out what it means")


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _Loader.construct_yaml_str)


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
                with _about(quoted(identity.name)):
                    is_ours = is_known(value)
                if not is_ours:
                    continue
                require_bounded(value, str(identity))
                _require_json(value)
                with _about(f"{identity.kind} {quoted(identity.name)}"):
                    parse(value)  # of what it refuses nothing would be known, and policies that ask for it mean else
                found[identity] = value
    except (ValueError, RecursionError, yaml.YAMLError) as exc:
        raise ManifestError(" ".join(str(exc).split())[:SHOWN_CHARACTERS]) from exc
    return found


@contextmanager
def _about(subject: str) -> Iterator[None]:
    """Say of what is wrong in an object which one it is."""
    try:
        yield
    except ManifestError as exc:
        raise ManifestError(f"{subject}: {exc}") from exc


def _require_json(value: object) -> None:
    """Raise for what cannot be told as JSON: binary, sets, numbers that are none, halves of characters."""
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        inner = waiting.pop()
        if id(inner) in seen:  # a large text may be meant many times
            continue
        seen.add(id(inner))
        if isinstance(inner, dict):
            waiting += [*inner, *inner.values()]
        elif isinstance(inner, list):
            waiting += inner
        else:
            try:
                json.dumps(inner, allow_nan=False, ensure_ascii=False).encode()
            except (TypeError, ValueError) as exc:
                raise ManifestError(f"it holds {quoted(inner)} ({type(inner).__name__}), which JSON cannot say; "
                                    "write a text in quotes") from exc


def _unpacked(document: object) -> Iterator[object]:
    """Give the objects of a document, which may be a list of them, or empty."""
    if document is None:
        return
    if isinstance(document, dict) and isinstance(document.get("items"), list):
        yield from document["items"]
    else:
        yield document
