"""The way of CNI plugins into the router: one request in, one answer out, both as the executable has them."""

from weave.api.arguments import Call
from weave.api.operations import WAIT_DEADLINE_S, Operation
from weave.api.replies import Reply


async def _cni(call: Call) -> Reply:
    status, stdout = await call.control.cni(call.path["plugin"], call.octets)
    return Reply(f"{status}\n{stdout}")


OPERATIONS = (
    Operation("POST", "/cni/{plugin}", "Do what a container runtime asks of a CNI plugin", _cni,
              "the exit status, a line feed, and what the plugin prints", subject="containers",
              deadline_s=WAIT_DEADLINE_S, waits=True, takes_octets=True),
)
