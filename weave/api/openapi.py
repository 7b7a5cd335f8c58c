"""Write the OpenAPI 3.1 document of the API out of the table of operations, so that the two cannot differ."""

import re
from collections.abc import Iterable

from weave import __version__
from weave.api.operations import MAX_WAIT_S, PATH_PARAMETERS, Field, Operation, Shape

_BRACES = re.compile(r"{(\w+)}")
_ERROR = {"$ref": "#/components/schemas/Error"}


def document(operations: Iterable[Operation]) -> dict[str, object]:
    """Return the document."""
    paths: dict[str, dict[str, object]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "weave router",
            "version": __version__,
            "description": "Control API of a router, on a unix socket. Ask for application/json where people would "
            "get text. Fields of a body may also come in the query.",
        },
        "paths": paths,
        "components": {"schemas": {"Error": {
            "type": "object",
            "required": ["error", "reason"],
            "properties": {
                "error": {"type": "string", "description": "What went wrong and what to do."},
                "reason": {"type": "string", "description": "refused, not-found, off, conflict, not-ready, "
                           "environment, peer, deadline, busy, too-large, method or internal."},
            },
        }}},
    }


def _operation(operation: Operation) -> dict[str, object]:
    is_query = operation.takes_octets or not operation.has_body
    in_query = [_query_parameter(field) for field in operation.all_fields] if is_query else []
    described: dict[str, object] = {
        "operationId": _identifier(operation),
        "summary": operation.summary,
        "tags": [operation.subject],
        "parameters": [_path_parameter(name) for name in _BRACES.findall(operation.path)] + in_query,
        "responses": _responses(operation),
    }
    if operation.has_body and (operation.all_fields or operation.takes_octets):
        described["requestBody"] = _body(operation)
    return described


def _identifier(operation: Operation) -> str:
    words = re.findall(r"\w+", operation.path.replace("-", "_"))
    return "_".join([operation.method.lower(), *words])


def _path_parameter(name: str) -> dict[str, object]:
    description, example = PATH_PARAMETERS[name]
    return {"name": name, "in": "path", "required": True, "description": description, "example": example,
            "schema": {"type": "string"}}


def _query_parameter(field: Field) -> dict[str, object]:
    return {"name": field.name, "in": "query", "required": field.required, "description": field.description,
            "schema": _schema(field)}


def _schema(field: Field) -> dict[str, object]:
    match field.shape:
        case Shape.TEXT:
            kind: dict[str, object] = {"type": "string"}
        case Shape.FLAG:
            kind = {"type": "boolean"}
        case Shape.NUMBER:
            kind = {"type": "integer", "minimum": field.minimum, "maximum": field.maximum}
        case Shape.TEXTS:
            kind = {"type": "array", "items": {"type": "string"}}
    example = list(field.example) if isinstance(field.example, tuple) else field.example
    return {**kind, "description": field.description, "examples": [example]}


def _body(operation: Operation) -> dict[str, object]:
    if operation.takes_octets:
        return {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string"}}}}
    required = [field.name for field in operation.all_fields if field.required]
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {field.name: _schema(field) for field in operation.all_fields},
        **({"required": required} if required else {}),
    }
    kinds = ("application/json", "application/x-www-form-urlencoded")
    return {"required": bool(required), "content": {kind: {"schema": schema} for kind in kinds}}


def _responses(operation: Operation) -> dict[str, object]:
    longer = f", or the `timeout` given, up to {MAX_WAIT_S} s" if operation.waits else ""
    refusals = {
        "400": "The request makes no sense here.",
        "503": "The router, the host or its peers cannot do it now.",
        "504": f"Not done within {operation.deadline_s:g} s{longer}.",
    }
    if "{" in operation.path or operation.subject in ("addresses", "names"):
        refusals["404"] = "Not here, or the service is off."
    success = "204" if operation.answer.startswith("nothing") else "200"
    answer = operation.answer[0].upper() + operation.answer[1:] + "."
    return {
        success: {"description": answer},
        **{code: {"description": words, "content": {"application/json": {"schema": _ERROR}}}
           for code, words in sorted(refusals.items())},
    }
