"""What a person would put below a hand-made VXLAN so that it is encrypted: a WireGuard device, or ESP.

Both are as `bench.handmade.build` takes them. The shape is that of our own: WireGuard with the VXLAN's ends in IPv6
inside, ESP in transport mode by AES-GCM with extended sequence numbers.
"""

from contextlib import closing
from ipaddress import ip_address, ip_network

from bench.handmade import VNI
from weave.lab import kernel
from weave.lab.names import underlay_address
from weave.net.namespace import open_namespace, run_there
from weave.netlink import constants as nl
from weave.netlink.connection import Netlink
from weave.netlink.generic import get_family, read_family
from weave.netlink.wireguard import FAMILY, Peer, set_device, set_peers
from weave.noise.keys import KeyPair

DEVICE, PORT = "wg0", 51820
WINDOW = "1024"
"""Of the replay protection, as ours."""


def wireguard(host: str, number: int, other: int) -> tuple[str, str]:
    """Have VXLAN travel in WireGuard."""
    inner = [f"fd00:99::{each}" for each in (number, other)]
    for words in (f"link add {DEVICE} type wireguard", f"address add {inner[0]}/64 dev {DEVICE} nodad",
                  f"link set {DEVICE} up"):
        kernel.run("ip", "-n", host, *words.split())
    peer = Peer(_key(other).public, endpoint=(ip_address(str(underlay_address(other))), PORT),
                allowed=frozenset({ip_network(inner[1])}))
    with closing(run_there(open_namespace(kernel.NETNS_DIR / host), lambda: Netlink(nl.NETLINK_GENERIC))) as generic:
        family = read_family(generic.query(get_family(FAMILY), "find WireGuard"))
        generic.run([set_device(family, DEVICE, _key(number).private, PORT), *set_peers(family, DEVICE, [peer])],
                    f"configure {DEVICE}")
    return inner[0], inner[1]


def _key(number: int) -> KeyPair:
    return KeyPair.from_private(bytes([number]) * 32)


def esp(host: str, number: int, other: int) -> tuple[str, str]:
    """Have VXLAN travel in ESP."""
    own, remote = str(underlay_address(number)), str(underlay_address(other))
    for source, destination, sender, direction in ((own, remote, number, "out"), (remote, own, other, "in")):
        way = f"src {source} dst {destination}"
        key = "0x" + bytes([sender]).hex() * 36
        kernel.run("ip", "-n", host, "xfrm", "state", "add", *way.split(), "proto", "esp", "spi", f"0x{sender:x}00",
                   "reqid", "1", "mode", "transport", "aead", "rfc4106(gcm(aes))", key, "128",
                   "replay-window", WINDOW, "flag", "esn")
        kernel.run("ip", "-n", host, "xfrm", "policy", "add", *way.split(), "proto", "udp", "dport", VNI,
                   "dir", direction, "tmpl", *way.split(), "proto", "esp", "reqid", "1", "mode", "transport")
    return own, remote
