"""Strict reading of decoded JSON and YAML: a field has the type and size it should have, or it is a `ManifestError`.

Absent and null are the same, as they are to Kubernetes; among labels, whose keys are no fields, they are not. A field
that nobody knows is an error where the caller names the known ones: it may limit what the rest says, so what carries it
is not understood. Errors are sentences without a full stop that name the field by its path; text of strangers in them
is quoted and cut.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from weave.errors import RemoteError
from weave.labels import MAX_VALUE_CHARACTERS

MAX_ITEMS = 10_000
"""Items of a list and keys of an object; the API server's limit of 1.5 MB an object leaves little more."""
MAX_PARTS = 200_000
"""Values in a policy, however often the same one: YAML can say a value once and mean it a million times."""
MAX_TEXT_CHARACTERS = 4096
SHOWN_CHARACTERS = 64
_UNTAMED = re.compile(r"[^-a-z0-9.]")
MAX_NAME_CHARACTERS = 253
MAX_LABEL_KEY_CHARACTERS = 317
MAX_LABEL_VALUE_CHARACTERS = 63
"""In a selector, as Kubernetes has it; a container that it does not know may have labels as long as names."""

Fields = Mapping[str, object]


class ManifestError(RemoteError):
    """A manifest, or a part of one, is not what it should be."""


def quoted(value: object) -> str:
    """Return a stranger's value for a sentence: on one line and short."""
    words = repr(value[:SHOWN_CHARACTERS] if isinstance(value, str) else value) if _is_scalar(value) else _kind(value)
    return words if len(words) <= SHOWN_CHARACTERS + 2 else f"{words[:SHOWN_CHARACTERS]}..."


def _is_scalar(value: object) -> bool:
    """Say whether a value may be shown; a whole number with thousands of digits cannot even be printed."""
    return isinstance(value, str | float | bool) or (isinstance(value, int) and abs(value) < 1 << 64)


def _kind(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case Mapping():
            return "an object"
        case list() | tuple():
            return "a list"
        case int():
            return "a very large number"
        case _:
            return "something else"


def fields(value: object, where: str, known: Iterable[str] | None = None) -> Fields:
    """Return an object's fields without those that are null; nothing is an empty object."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ManifestError(f"{where} should be an object, not {quoted(value)}")
    if len(value) > MAX_ITEMS:
        raise ManifestError(f"{where} has more than {MAX_ITEMS} fields")
    for key in value:
        if not isinstance(key, str):
            raise ManifestError(f"{where} has {quoted(key)} as a field; field names are texts")
        if known is not None and key not in known:
            raise ManifestError(f"{where} has the field {quoted(key)}, which this version does not know")
    return {key: inner for key, inner in value.items() if inner is not None}


def nulls(value: object) -> list[str]:
    """Return the fields of an object that are null, which `fields` leaves out."""
    return [key for key, inner in value.items() if inner is None] if isinstance(value, Mapping) else []


def items(value: object, where: str) -> Sequence[object]:
    """Return a list; nothing is an empty list."""
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise ManifestError(f"{where} should be a list, not {quoted(value)}")
    if len(value) > MAX_ITEMS:
        raise ManifestError(f"{where} has more than {MAX_ITEMS} items")
    return value


def text(value: object, where: str, longest: int = MAX_TEXT_CHARACTERS) -> str:
    """Return a text that can be shown to people; it is an error where there is none."""
    if not isinstance(value, str):
        hint = "; put it in quotes" if isinstance(value, int | float) else ""
        raise ManifestError(f"{where} should be a text, not {quoted(value)}{hint}")
    if len(value) > longest:
        raise ManifestError(f"{where} has more than {longest} characters")
    if not value.isprintable():
        raise ManifestError(f"{where} has characters that cannot be printed: {quoted(value)}")
    return value


def number(value: object, where: str, low: int, high: int) -> int:
    """Return a whole number in a range, both ends included."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ManifestError(f"{where} should be a whole number, not {quoted(value)}")
    if not low <= value <= high:
        raise ManifestError(f"{where} should be {low} to {high}, not {quoted(value)}")
    return value


def truth(value: object, where: str) -> bool:
    """Return true or false; nothing is false."""
    if not isinstance(value, bool | None):
        raise ManifestError(f"{where} should be true or false, not {quoted(value)}")
    return bool(value)


def plain_name(value: object, where: str) -> str:
    """Return a name of whatever kind: containers and hosts that Kubernetes does not know may have capitals."""
    name = text(value, where, MAX_NAME_CHARACTERS)
    if not name:
        raise ManifestError(f"{where} is empty")
    return name


def tame_name(name: str) -> str:
    """Return something like a name that can be printed and put into comments, for a text that is no name."""
    return _UNTAMED.sub("-", name[:MAX_NAME_CHARACTERS].lower()).strip("-.") or "nameless"


def labels(value: object, where: str, longest: int = MAX_VALUE_CHARACTERS) -> dict[str, str]:
    """Return the labels of an object, sorted by key; one that is null is empty, as Kubernetes reads it."""
    read = {**fields(value, where), **dict.fromkeys(nulls(value), "")}
    for key, inner in read.items():
        label_key(key, where)
        text(inner, f"{where}[{quoted(key)}]", longest)
    return {key: str(read[key]) for key in sorted(read)}


def label_key(value: object, where: str) -> str:
    """Return the key of a label."""
    key = text(value, f"a key of {where}", MAX_LABEL_KEY_CHARACTERS)
    if not key:
        raise ManifestError(f"{where} has an empty key")
    return key


def require_bounded(value: object, where: str) -> None:
    """Raise where an object has too many parts; so every one of those that are read costs little."""
    parts, waiting = 0, [value]
    while waiting:
        inner = waiting.pop()
        parts += 1
        if parts > MAX_PARTS or len(waiting) > MAX_PARTS:
            raise ManifestError(f"{where} has more than {MAX_PARTS} parts")
        if isinstance(inner, Mapping):
            waiting.extend(inner.values())
        elif isinstance(inner, list | tuple):
            waiting.extend(inner)


def only_one(value: object, where: str, known: Sequence[str]) -> tuple[str, object]:
    """Return the only field that is set, of those that are known."""
    read = fields(value, where, known)
    if len(read) != 1:
        have = " and ".join(sorted(read)) or "nothing that this version knows"
        raise ManifestError(f"{where} should have exactly one of {', '.join(known)}; it has {have}")
    return next(iter(read.items()))
