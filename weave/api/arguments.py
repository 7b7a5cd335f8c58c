"""Read what a client sent: query, form or JSON, checked against the fields of the operation.

Whatever does not fit is refused with a sentence that names the field (`LocalError`, 400); nothing is guessed and
nothing unknown is ignored, since an option that is silently dropped is worse than an error. The size of a body is
bounded before it comes here.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import parse_qsl, unquote

from weave.addresses import IPAddress, IPInterface, IPNetwork, parse_address, parse_interface, parse_network
from weave.api.control import Control
from weave.api.operations import Field, Operation, Shape
from weave.api.samples import Figure
from weave.errors import LocalError

MAX_TEXT = 1024
"""Longer than any name, path or address that anything here accepts."""
MAX_FIELDS = 256
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"

Value = str | int | bool | tuple[str, ...]
_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": True}
"""How a flag is written in a query; `?replace` alone means yes."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request that passed the checks, on its way to a handler."""

    control: Control
    figures: Callable[[], Sequence[Figure]]
    """What the API counts of itself."""
    operation: Operation
    path: Mapping[str, str]
    values: Mapping[str, Value]
    octets: bytes = b""
    """The body of an operation that takes it as it comes."""

    def text(self, name: str) -> str | None:
        """Return a text field, None where it was not given."""
        value = self.values.get(name)
        assert value is None or isinstance(value, str)
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list field, empty where it was not given."""
        value = self.values.get(name, ())
        assert isinstance(value, tuple)
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a flag."""
        value = self.values.get(name, default)
        assert isinstance(value, bool)
        return value

    def number(self, name: str) -> int | None:
        """Return a number, None where it was not given."""
        value = self.values.get(name)
        assert value is None or isinstance(value, int)
        return value

    def path_address(self) -> IPAddress:
        """Return the address in the path."""
        return parse_address(self.path["address"])

    def path_interface(self) -> IPInterface:
        """Return the address with prefix length in the path."""
        return parse_interface(f"{self.path['address']}/{self.path['length']}")

    def path_network(self) -> IPNetwork:
        """Return the subnet in the path."""
        return parse_network(f"{self.path['address']}/{self.path['length']}")


def read_path(parameters: Mapping[str, str]) -> dict[str, str]:
    """Return the words of the path, still percent-encoded, as text; an encoded slash belongs to its word."""
    return {name: _text(name, _decoded(name, value)) for name, value in parameters.items()}


def _decoded(name: str, word: str) -> str:
    try:
        return unquote(word, errors="strict")
    except UnicodeDecodeError as exc:
        raise LocalError(f"{name!r} in the path cannot be read: {exc}") from exc


def read_arguments(operation: Operation, query: bytes, content_type: str, body: bytes) -> dict[str, Value]:
    """Return the fields that were given; raise `LocalError` where they do not fit the operation."""
    fields = {field.name: field for field in operation.all_fields}
    given = _from_pairs(fields, query)
    in_body = {} if operation.takes_octets else _from_body(fields, content_type, body)
    for name, value in in_body.items():
        if name in given:
            raise LocalError(f"{name!r} is given twice, in the query and in the body")
        given[name] = value
    missing = [field.name for field in operation.all_fields if field.required and field.name not in given]
    if missing:
        raise LocalError(f"{operation.method} {operation.path} needs {', '.join(missing)}")
    return given


def _from_body(fields: Mapping[str, Field], content_type: str, body: bytes) -> dict[str, Value]:
    kind = content_type.partition(";")[0].strip().lower()
    if not body:
        return {}
    if kind == FORM:
        return _from_pairs(fields, body)
    if kind in (JSON, ""):
        return _from_json(fields, body)
    raise LocalError(f"a body should be {JSON} or {FORM}, not {kind}")


def _from_pairs(fields: Mapping[str, Field], encoded: bytes) -> dict[str, Value]:
    """Read `name=value&name=value`; a list is its name repeated."""
    given: dict[str, Value] = {}
    for name, text in _pairs(encoded):
        field = _known(fields, name)
        if field.shape is Shape.TEXTS:
            before = given.get(name, ())
            assert isinstance(before, tuple)
            given[name] = (*before, _text(name, text))
        elif name in given:
            raise LocalError(f"{name!r} is given twice")
        else:
            given[name] = _from_word(field, text)
    return given


def _pairs(encoded: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(encoded.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError as exc:  # of which UnicodeDecodeError is one
        raise LocalError(f"the query or form cannot be read: {exc}") from exc


def _from_word(field: Field, text: str) -> Value:
    match field.shape:
        case Shape.FLAG:
            if text.lower() not in _WORDS:
                raise LocalError(f"{field.name!r} should be true or false, not {text!r}")
            return _WORDS[text.lower()]
        case Shape.NUMBER:
            if not (text.isascii() and text.isdecimal()) or len(text) > len(str(field.maximum)):
                raise LocalError(f"{field.name!r} should be a number from {field.minimum} to {field.maximum}")
            return _number(field, int(text))
        case _:
            return _text(field.name, text)


def _from_json(fields: Mapping[str, Field], body: bytes) -> dict[str, Value]:
    try:
        document = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as exc:
        raise LocalError(f"the body is not JSON: {exc}") from exc
    if not isinstance(document, dict):
        raise LocalError("the body should be a JSON object")
    return {name: _from_value(_known(fields, name), value) for name, value in document.items() if value is not None}


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a name appears twice in one object")
    return unique


def _from_value(field: Field, value: object) -> Value:
    match field.shape, value:
        case (Shape.TEXT, str()):
            return _text(field.name, value)
        case (Shape.FLAG, bool()):
            return value
        case (Shape.NUMBER, int()) if not isinstance(value, bool):
            return _number(field, value)
        case (Shape.TEXTS, list()) if len(value) <= MAX_FIELDS and all(isinstance(item, str) for item in value):
            return tuple(_text(field.name, item) for item in value)
        case _:
            raise LocalError(f"{field.name!r} should be a {_JSON_WORDS[field.shape]}")


_JSON_WORDS = {
    Shape.TEXT: "string",
    Shape.FLAG: "flag, true or false",
    Shape.NUMBER: "whole number",
    Shape.TEXTS: f"list of up to {MAX_FIELDS} strings",
}


def _known(fields: Mapping[str, Field], name: str) -> Field:
    if name not in fields:
        known = ", ".join(fields) or "nothing"
        raise LocalError(f"{name[:64]!r} is not known here; this takes {known}")
    return fields[name]


def _text(name: str, text: str) -> str:
    if not text.isprintable() or len(text) > MAX_TEXT:
        raise LocalError(f"{name!r} should be up to {MAX_TEXT} printable characters")
    return text


def _number(field: Field, number: int) -> int:
    if not field.minimum <= number <= field.maximum:
        raise LocalError(f"{field.name!r} should be from {field.minimum} to {field.maximum}")
    return number
