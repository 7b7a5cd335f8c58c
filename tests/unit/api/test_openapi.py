"""The document is what OpenAPI 3.1 asks for, and says what the table says."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from weave.api.openapi import document
from weave.api.operations import Operation, Shape
from weave.api.routes import OPERATIONS

DOCUMENT: Any = json.loads(json.dumps(document(OPERATIONS)))
TYPES = {Shape.TEXT: "string", Shape.FLAG: "boolean", Shape.NUMBER: "integer", Shape.TEXTS: "array"}


def described(operation: Operation) -> Any:
    return DOCUMENT["paths"][operation.path][operation.method.lower()]


def test_document_is_an_openapi_document() -> None:
    assert set(DOCUMENT) == {"openapi", "info", "paths", "components"}
    assert DOCUMENT["openapi"] == "3.1.0"
    assert {"title", "version"} <= set(DOCUMENT["info"])


def test_document_has_the_operations_of_the_table_and_no_other() -> None:
    there = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}
    assert there == {(operation.method, operation.path) for operation in OPERATIONS}
    assert len(OPERATIONS) == len(there)


def test_identifiers_are_unique() -> None:
    identifiers = [described(operation)["operationId"] for operation in OPERATIONS]
    assert len(set(identifiers)) == len(identifiers)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda op: f"{op.method} {op.path}")
def test_operation_is_described(operation: Operation) -> None:
    item = described(operation)
    assert item["summary"]
    assert item["tags"] == [operation.subject] != [""]
    parameters = {parameter["name"]: parameter for parameter in item["parameters"]}
    in_path = {name for name, parameter in parameters.items() if parameter["in"] == "path"}
    assert in_path == set(re.findall(r"{(\w+)}", operation.path))
    assert all(parameter["required"] for parameter in parameters.values() if parameter["in"] == "path")
    assert all(re.fullmatch(r"[1-5]\d\d", code) and reply["description"] for code, reply in item["responses"].items())


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda op: f"{op.method} {op.path}")
def test_fields_are_described(operation: Operation) -> None:
    item = described(operation)
    in_query = {p["name"]: p["schema"] for p in item["parameters"] if p["in"] == "query"}
    contents = item.get("requestBody", {}).get("content", {}).values()
    schemas = [content["schema"] for content in contents]
    for schema in schemas:
        assert set(schema.get("required", [])) == {field.name for field in operation.all_fields if field.required}
    for given in [schema["properties"] for schema in schemas if "properties" in schema] or [in_query]:
        assert {name: schema["type"] for name, schema in given.items()} == {
            field.name: TYPES[field.shape] for field in operation.all_fields}


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from [value["$ref"]] if "$ref" in value else []
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_references_lead_somewhere() -> None:
    assert set(references(DOCUMENT)) == {"#/components/schemas/Error"}
    assert DOCUMENT["components"]["schemas"]["Error"]["required"] == ["error", "reason"]
