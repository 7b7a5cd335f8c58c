"""What a person would build with `ip`: a bridge and a VXLAN device on two hosts, a pod on each.

    pod --veth-- [br0: pod0, vx0] h202 eth0 -- underlay -- eth0 h203 [br0: vx0, pod0] --veth-- pod

It lives in a lab, on the same underlay as the routers it is compared with, and goes when the lab goes.
"""

from dataclasses import dataclass

from weave.lab import kernel
from weave.lab.names import SWITCH, UNDERLAY, host_name, namespace, underlay_address, underlay_mac

FIRST_NUMBER = 201
"""The lab numbers its own hosts from 1 to 200."""
VNI = "6784"
POD_PREFIX_LENGTH = 24


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of the hand-made network."""

    namespace: str
    host: str
    address: str
    underlay: str


def build(lab: str, mtu: int) -> tuple[Pod, Pod]:
    """Make both hosts with a pod each; the underlay is made where the lab has none yet."""
    switch = namespace(lab, SWITCH)
    if switch not in kernel.namespaces(switch):
        kernel.add_switch(switch)
    return _host(lab, 1, 2, mtu), _host(lab, 2, 1, mtu)


def bare_host(lab: str, number: int) -> str:
    """Make a host with nothing but its eth0 on the underlay, and return its namespace."""
    name = host_name(number)
    host = namespace(lab, name)
    kernel.add_namespace(host)
    kernel.plug(namespace(lab, SWITCH), host, port=name, mac=underlay_mac(number),
                address=f"{underlay_address(number)}/{UNDERLAY.prefixlen}")
    return host


def _host(lab: str, index: int, other: int, mtu: int) -> Pod:
    number = FIRST_NUMBER + index
    host, pod = bare_host(lab, number), namespace(lab, host_name(number), "pod")
    own, remote = (str(underlay_address(FIRST_NUMBER + each)) for each in (index, other))
    address = f"10.99.0.{index}"
    kernel.add_namespace(pod)
    for words in (
        f"link add name br0 mtu {mtu} type bridge stp_state 0 mcast_snooping 0",
        f"link add name vx0 mtu {mtu} master br0 type vxlan id {VNI} dstport {VNI} local {own} remote {remote}",
        f"link add name pod0 mtu {mtu} master br0 type veth peer name eth0 mtu {mtu} netns {pod}",
        "link set br0 up",
        "link set vx0 up",
        "link set pod0 up",
    ):
        kernel.run("ip", "-n", host, *words.split())
    kernel.run("ip", "-n", pod, "address", "add", f"{address}/{POD_PREFIX_LENGTH}", "dev", "eth0")
    kernel.run("ip", "-n", pod, "link", "set", "eth0", "up")
    return Pod(pod, host, address, own)
