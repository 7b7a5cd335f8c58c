"""Operations on the mesh and on the router itself: whom to connect to, whose addresses to take, when to end."""

from weave.api.arguments import Call
from weave.api.operations import WAIT_DEADLINE_S, Field, Operation, Shape
from weave.api.replies import DONE, Reply

_PEERS = "Hosts as name or address, optionally with :port."


async def _connect(call: Call) -> Reply:
    await call.control.connect(call.texts("peer"), replace=call.flag("replace"))
    return DONE


async def _forget(call: Call) -> Reply:
    await call.control.forget(call.texts("peer"))
    return DONE


async def _surrender(call: Call) -> Reply:
    await call.control.surrender()
    return DONE


async def _take_over(call: Call) -> Reply:
    peer = call.path["peer"]
    count = await call.control.takeover(peer)
    return Reply(f"{count} IPs taken over from {peer}", {"peer": peer, "addresses": count})


async def _stop(call: Call) -> Reply:
    await call.control.stop(wipe=call.flag("wipe"))
    return DONE


OPERATIONS = (
    Operation("POST", "/connect", "Add targets to connect to", _connect, "nothing", subject="mesh", fields=(
        Field("peer", Shape.TEXTS, _PEERS, ("192.0.2.7:6783",)),
        Field("replace", Shape.FLAG, "Make these the only targets.", example=True),
    )),
    Operation("POST", "/forget", "Drop targets", _forget, "nothing", subject="mesh", fields=(
        Field("peer", Shape.TEXTS, _PEERS, ("192.0.2.7:6783",), required=True),
    )),
    Operation("DELETE", "/peer", "Give all our address space to another peer, before leaving for good", _surrender,
              "nothing", subject="mesh", deadline_s=WAIT_DEADLINE_S),
    Operation("DELETE", "/peer/{peer}", "Take over the address space of a dead peer", _take_over,
              "how many addresses were taken over", subject="mesh", deadline_s=WAIT_DEADLINE_S),
    Operation("POST", "/stop", "Stop this router", _stop, "nothing, before the router has ended", subject="mesh",
              fields=(Field("wipe", Shape.FLAG, "Also remove its state, its bridge and whatever else it made.",
                            example=False),)),
)
