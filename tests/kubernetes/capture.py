"""What nodes say to each other, recorded on the uplink of each, without what is said to the control plane."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.kubernetes.testbed import LAB, SUBNET, Cluster, wait_for

UPLINK = "eth0"


@dataclass(frozen=True, slots=True)
class Capture:
    """Files of packets, one for each node."""

    files: tuple[Path, ...]

    def holds(self, words: bytes) -> bool:
        """Say whether these octets were seen anywhere."""
        return any(words in file.read_bytes() for file in self.files)

    def count(self, expression: str) -> int:
        """Return how many packets match."""
        return sum(len(subprocess.run(["tcpdump", "-nr", str(file), expression], capture_output=True, text=True,
                                      check=True).stdout.splitlines()) for file in self.files)


@contextmanager
def capturing(cluster: Cluster, place: Path) -> Iterator[Capture]:
    """Record on every node until the block ends."""
    with ExitStack() as stack:
        for node in cluster.nodes:
            stack.enter_context(recording(node, UPLINK, place / node, f"not host {SUBNET}.1"))
        yield Capture(tuple(place / node for node in cluster.nodes))


@contextmanager
def recording(node: str, device: str, file: Path, *expression: str) -> Iterator[None]:
    """Record on one device of a node until the block ends; the file grows packet by packet."""
    command = ["nsenter", f"--net=/run/netns/{LAB}-{node}", "--", "tcpdump", "-Z", "root", "-U", "-s", "0",
               "-i", device, "-w", str(file), *expression]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(file.exists, bool, f"tcpdump does not record {device} of {node}", 20)
        yield
    finally:
        process.terminate()
        process.wait(20)
