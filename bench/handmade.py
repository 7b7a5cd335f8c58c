"""What a person would build with `ip`: a bridge and a VXLAN device on two hosts, a pod on each.

    pod --veth-- [br0: pod0, vx0] h202 eth0 -- underlay -- eth0 h203 [br0: vx0, pod0] --veth-- pod

It lives in a lab, on the same underlay as the routers it is compared with, and goes when the lab goes. What is below
the VXLAN can be something else than the underlay (`bench.handmade_sealed`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from weave.lab import kernel
from weave.lab.names import SWITCH, UNDERLAY, host_name, namespace, underlay_address, underlay_mac

FIRST_NUMBER = 202
"""The lab numbers its own hosts from 1 to 200."""
VNI = "6784"
POD_PREFIX_LENGTH = 24
GATEWAY_NUMBER, POD_NUMBER = 1, 2
"""The last octets of a bridge's address and of the pod behind it, where each host has a subnet of its own."""

Below = Callable[[str, int, int], tuple[str, str]]
"""Prepares the host in a namespace, given its number and that of the other one; returns the ends of its VXLAN."""


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of the hand-made network."""

    namespace: str
    host: str
    address: str
    underlay: str


def underlay(_host: str, number: int, other: int) -> tuple[str, str]:
    """Have VXLAN travel on the underlay itself."""
    return str(underlay_address(number)), str(underlay_address(other))


def build(lab: str, mtu: int, *, first: int = FIRST_NUMBER, below: Below = underlay) -> tuple[Pod, Pod]:
    """Make both hosts, with this number and the next, and a pod each; the underlay is made where there is none yet."""
    switch = namespace(lab, SWITCH)
    if switch not in kernel.namespaces(switch):
        kernel.add_switch(switch)
    return _host(lab, first, first + 1, mtu, below), _host(lab, first + 1, first, mtu, below)


def bare_host(lab: str, number: int) -> str:
    """Make a host with nothing but its eth0 on the underlay, and return its namespace."""
    name = host_name(number)
    host = namespace(lab, name)
    kernel.add_namespace(host)
    kernel.plug(namespace(lab, SWITCH), host, port=name, mac=underlay_mac(number),
                address=f"{underlay_address(number)}/{UNDERLAY.prefixlen}")
    return host


def routed_pod(host: str, subnet: str, mtu: int) -> str:
    """Give a bare host a bridge, and behind it a pod that leaves by it; return the pod's namespace.

    `subnet` is the first three octets of its addresses.
    """
    pod = f"{host}.pod"
    kernel.add_namespace(pod)
    for words in (
        f"link add name br0 mtu {mtu} type bridge stp_state 0 mcast_snooping 0",
        f"link add name pod0 mtu {mtu} master br0 type veth peer name eth0 mtu {mtu} netns {pod}",
        f"address add {subnet}.{GATEWAY_NUMBER}/{POD_PREFIX_LENGTH} dev br0",
        "link set br0 up",
        "link set pod0 up",
    ):
        kernel.run("ip", "-n", host, *words.split())
    kernel.run("ip", "netns", "exec", host, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
    kernel.run("ip", "-n", pod, "address", "add", f"{subnet}.{POD_NUMBER}/{POD_PREFIX_LENGTH}", "dev", "eth0")
    kernel.run("ip", "-n", pod, "link", "set", "eth0", "up")
    kernel.run("ip", "-n", pod, "route", "add", "default", "via", f"{subnet}.{GATEWAY_NUMBER}")
    return pod


def _host(lab: str, number: int, other: int, mtu: int, below: Below) -> Pod:
    host, pod = bare_host(lab, number), namespace(lab, host_name(number), "pod")
    own, remote = below(host, number, other)
    address = f"10.99.0.{number}"
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
    return Pod(pod, host, address, str(underlay_address(number)))
