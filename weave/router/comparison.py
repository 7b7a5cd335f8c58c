"""CHECK: what of an earlier result is no longer there. Pure.

Additions by others are fine: other plugins of the chain, people and programs in the container may add addresses and
routes. What is looked for is what we made.
"""

from collections.abc import Collection

from weave.addresses import IPInterface, IPNetwork
from weave.cni.request import Call
from weave.cni.result import Interface, Result, Route
from weave.net import InsideState


def ours_in(call: Call, result: Result) -> Interface | None:
    """Return the container's interface in a result of the chain."""
    for item in result.interfaces:
        if item.name == call.interface and item.sandbox:
            return item
    return None


def differences(call: Call, result: Result, actual: InsideState | None, *, segment_mtu: int) -> list[str]:
    """Return, as sentences, what differs from the result of ADD; no sentence, no difference.

    That an interface has followed the MTU of the segment since is none.
    """
    wanted = ours_in(call, result)
    if wanted is None:
        return [f"prevResult has no interface {call.interface} in a sandbox"]
    if actual is None:
        return [f"interface {call.interface} is not there, or not on the bridge"]
    found = []
    if not actual.on_bridge:
        found.append(f"{actual.host_interface} is no port of the bridge any more")
    if not actual.is_up:
        found.append(f"interface {call.interface} is down")
    if wanted.mac and wanted.mac.lower() != actual.mac:
        found.append(f"interface {call.interface} has MAC {actual.mac} instead of {wanted.mac}")
    if wanted.mtu and actual.mtu not in (wanted.mtu, segment_mtu):
        found.append(f"interface {call.interface} has MTU {actual.mtu} instead of {wanted.mtu}")
    index = result.interfaces.index(wanted)
    wished = [item.interface for item in result.addresses if item.index in (None, index)]
    found += [f"interface {call.interface} lacks address {item}" for item in wished if item not in actual.addresses]
    present = {(route.destination, route.gateway) for route in actual.routes}
    found += [f"interface {call.interface} lacks the route to {route.destination}"
              for route in _our_routes(result, wished) if (route.destination, route.gateway) not in present]
    return found


def _our_routes(result: Result, addresses: Collection[IPInterface]) -> list[Route]:
    """Return the routes that must lead through our interface.

    Those are all where it is the only one inside, else those whose gateway is in a subnet of ours.
    """
    if sum(bool(item.sandbox) for item in result.interfaces) <= 1:
        return [route for route in result.routes if route.gateway is not None]
    nets: list[IPNetwork] = [item.network for item in addresses]
    return [route for route in result.routes if route.gateway is not None and any(
        net.version == route.gateway.version and route.gateway in net for net in nets)]
