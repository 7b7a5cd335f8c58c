"""TCP throughput between two network namespaces by iperf3."""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench.harness import CannotMeasure
from weave.lab import kernel

END_DEADLINE_S = 5.0
SLACK_S = 15.0


@dataclass(frozen=True, slots=True)
class Path:
    """From which namespace to which address packets go."""

    client: str
    address: str
    congestion: str | None = None

    def bits_per_second(self, seconds: int) -> float:
        """Send one TCP stream for some whole seconds (all that iperf3 knows) and return what arrived."""
        words = ["iperf3", "-J", "-c", self.address, "-t", str(seconds)]
        if self.congestion is not None:
            words += ["-C", self.congestion]
        done = subprocess.run(kernel.inside(self.client, *words), capture_output=True, text=True, check=False,
                              timeout=seconds + SLACK_S)
        try:
            said = json.loads(done.stdout)
            return float(said["end"]["sum_received"]["bits_per_second"])
        except (ValueError, KeyError) as exc:
            reason = _error_of(done)
            raise CannotMeasure(f"iperf3 from {self.client} to {self.address}: {reason}") from exc


@contextmanager
def servers(namespaces: Sequence[str]) -> Iterator[None]:
    """Run an iperf3 server in each namespace while the block runs."""
    with ExitStack() as stack:
        for namespace in namespaces:
            stack.enter_context(_server(namespace))
        yield


@contextmanager
def _server(namespace: str) -> Iterator[None]:
    process = subprocess.Popen(kernel.inside(namespace, "iperf3", "-s", "--forceflush"), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        _wait_listening(process)
        yield
    finally:
        process.terminate()
        try:
            process.communicate(timeout=END_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def _wait_listening(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if "listening" in line:
            return
    raise CannotMeasure("the iperf3 server did not start")


def _error_of(done: "subprocess.CompletedProcess[str]") -> str:
    try:
        return str(json.loads(done.stdout)["error"])
    except (ValueError, KeyError):
        return (done.stderr or done.stdout).strip()[-200:] or f"exit status {done.returncode}"
