"""The operations of the API by subject; `OPERATIONS` is the one table of them all."""

from weave.api.arguments import Call
from weave.api.openapi import document
from weave.api.operations import Operation
from weave.api.replies import Reply
from weave.api.routes import addresses, cni, containers, mesh, names, status


async def _describe(_: Call) -> Reply:
    return Reply(value=document(OPERATIONS))


OPERATIONS: tuple[Operation, ...] = (
    *status.OPERATIONS,
    *mesh.OPERATIONS,
    *addresses.OPERATIONS,
    *containers.OPERATIONS,
    *cni.OPERATIONS,
    *names.OPERATIONS,
    Operation("GET", "/openapi.json", "This API as OpenAPI 3.1", _describe, "the document", subject="about"),
)
