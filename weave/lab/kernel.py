"""The few things a lab asks of the kernel, by iproute2 and nft: namespaces, an underlay bridge, cuts.

A lab is a tool for people on one machine, so plain commands that a person could type are the right level here; a
failing command becomes one line with the words of the tool.
"""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from weave.errors import EnvironmentFailure

COMMAND_DEADLINE_S = 20.0
NETNS_DIR = Path("/run/netns")
CUT_TABLE = "weavelab"


def run(*words: str, stdin: str | None = None) -> str:
    """Run a command and return what it printed; raise `EnvironmentFailure` with its last words otherwise."""
    try:
        done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=COMMAND_DEADLINE_S,
                              check=False)
    except FileNotFoundError as exc:
        raise EnvironmentFailure(f"{words[0]} is not installed; the lab needs iproute2 and nftables") from exc
    except subprocess.TimeoutExpired as exc:
        raise EnvironmentFailure(f"`{' '.join(words)}` did not end within {COMMAND_DEADLINE_S:g} s") from exc
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        raise EnvironmentFailure(f"`{' '.join(words)}` failed: {said[-1]}")
    return done.stdout


def inside(namespace: str, *words: str) -> list[str]:
    """Return the command that runs `words` in a namespace, with the namespace's own /etc files."""
    return ["ip", "netns", "exec", namespace, *words]


def namespaces(prefix: str) -> list[str]:
    """Return the names of the network namespaces that begin so, sorted."""
    if not NETNS_DIR.is_dir():
        return []
    return sorted(entry.name for entry in NETNS_DIR.iterdir() if entry.name.startswith(prefix))


def add_namespace(name: str) -> None:
    """Make a network namespace with its loopback up."""
    run("ip", "netns", "add", name)
    run("ip", "-n", name, "link", "set", "lo", "up")


def delete_namespace(name: str) -> None:
    """Remove a namespace and whatever devices it held."""
    run("ip", "netns", "delete", name)


def pids_in(name: str) -> list[int]:
    """Return the processes that live in a namespace."""
    return [int(word) for word in run("ip", "netns", "pids", name).split()]


def add_switch(name: str) -> None:
    """Make the underlay: a namespace with a bridge that forwards at once and learns."""
    add_namespace(name)
    # the underlay is plain Ethernet: nobody's IP rules may look into it
    run("ip", "netns", "exec", name, "sysctl", "-q", "-w", "net.ipv6.conf.all.disable_ipv6=1")
    run("ip", "-n", name, "link", "add", "br0", "type", "bridge", "stp_state", "0", "forward_delay", "0")
    run("ip", "-n", name, "link", "set", "br0", "up")
    run("ip", "netns", "exec", name, "nft", "-f", "-", stdin=_cut_rules([]))


def plug(switch: str, host: str, *, port: str, mac: str, address: str) -> None:
    """Give a host's namespace an eth0 with this address and MAC, plugged into the underlay."""
    run("ip", "-n", switch, "link", "add", port, "master", "br0", "up", "type", "veth",
        "peer", "name", "eth0", "address", mac, "netns", host)
    run("ip", "-n", host, "address", "add", address, "dev", "eth0")
    run("ip", "-n", host, "link", "set", "eth0", "up")


def make_room_for_neighbours(hosts: int) -> None:
    """Let the kernel know as many addresses as there are pairs of hosts: it has one table for all namespaces.

    Where that is full, packets of any host of the lab, and of this machine, are dropped (arp(7), `gc_thresh3`).
    """
    wanted = 2 * hosts * hosts
    for family in ("ipv4", "ipv6"):
        for number in (3, 2):  # the limit, and from where on old entries are looked for
            path = Path(f"/proc/sys/net/{family}/neigh/default/gc_thresh{number}")
            if path.exists() and int(path.read_text()) < wanted:
                path.write_text(str(wanted))


def set_cuts(switch: str, pairs: Sequence[tuple[str, str]]) -> None:
    """Make exactly these pairs of MACs deaf to each other on the underlay."""
    run("ip", "netns", "exec", switch, "nft", "-f", "-", stdin=_cut_rules(pairs))


def _cut_rules(pairs: Sequence[tuple[str, str]]) -> str:
    both = sorted({pair for a, b in pairs for pair in ((a, b), (b, a))})
    rules = "\n".join(f"ether saddr {a} ether daddr {b} drop" for a, b in both)
    return (f"table bridge {CUT_TABLE}\ndelete table bridge {CUT_TABLE}\ntable bridge {CUT_TABLE} {{\n"
            f"chain cut {{ type filter hook forward priority 0; policy accept;\n{rules}\n}}\n}}\n")


def device_names(name: str) -> list[str]:
    """Return the names of the devices in a namespace."""
    return [str(link["ifname"]) for link in json.loads(run("ip", "-n", name, "-j", "link", "show"))]
