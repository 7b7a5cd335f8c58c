"""`weave attach` of a container of containerd, by its id: containerd runs, and nobody has told weave of it.

containerd keeps its notes under /run/containerd; here it has one of its own, in a mount namespace that only it and the
command under test see.
"""

import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest

from tests.lab.busybox import BUSYBOX, rootfs
from tests.lab.world import LAB, World
from weave.lab import probes

pytestmark = [
    *LAB,
    pytest.mark.skipif(any(shutil.which(name) is None for name in ("containerd", "ctr", "runc")),
                       reason="the machine has no containerd, or no runc"),
    pytest.mark.skipif(not BUSYBOX.exists(), reason="the machine has no busybox-static, of which the container is"),
]
IDENT = "c0ffee" * 10 + "c0ff"
CONFIGURATION = """
version = 2
root = "{place}/root"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "/run/containerd/containerd.sock"
"""
PRIVATE_RUN = "mkdir -p /run/containerd && mount -t tmpfs tmpfs /run/containerd && exec containerd -c $0"
START_S = 30.0


@dataclass(frozen=True, slots=True)
class Containerd:
    """A running containerd, and commands that see what it sees."""

    process: "subprocess.Popen[bytes]"

    def run(self, *words: str, environment: dict[str, str] | None = None) -> str:
        done = subprocess.run(["nsenter", f"--mount=/proc/{self.process.pid}/ns/mnt", "--", *words], check=False,
                              env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        return done.stdout.strip()

    def tasks(self) -> str:
        """Return what runs."""
        return self.run("ctr", "tasks", "list")

    def weave(self, hosts: World, *words: str) -> str:
        """Run a `weave` command on h1 and return what it printed."""
        command, environment = hosts.lab.command("h1", ["weave", *words])
        return self.run(*command, environment=environment)


@pytest.fixture
def containerd(tmp_path: Path) -> Iterator[Containerd]:
    (tmp_path / "config.toml").write_text(CONFIGURATION.format(place=tmp_path))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c", PRIVATE_RUN,
                                    str(tmp_path / "config.toml")], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    made = Containerd(process)
    try:
        probes.wait_for(lambda: "serving" in (tmp_path / "log").read_text(), bool, "containerd does not serve", START_S)
        yield made
    finally:
        process.terminate()
        process.wait(20)
        with suppress(OSError):  # one of the machine's own
            Path("/run/containerd").rmdir()


@pytest.fixture
def stranger(containerd: Containerd, tmp_path: Path) -> Iterator[str]:
    """Give the id of a running container with nothing but a loopback."""
    files = tmp_path / "rootfs"
    with tarfile.open(fileobj=BytesIO(rootfs())) as archive:
        archive.extractall(files, filter="fully_trusted")
    containerd.run("ctr", "run", "--detach", "--rootfs", str(files), IDENT, "/bin/sleep", "600")
    yield IDENT
    containerd.run("ctr", "tasks", "kill", "--signal", "SIGKILL", IDENT)
    probes.wait_for(containerd.tasks, lambda listed: "RUNNING" not in listed, "the container does not end", START_S)
    containerd.run("ctr", "tasks", "delete", IDENT)
    containerd.run("ctr", "containers", "delete", IDENT)


def test_a_container_is_attached_by_its_id(shared: World, containerd: Containerd, stranger: str) -> None:
    address = containerd.weave(shared, "attach", stranger)
    look = ("ctr", "tasks", "exec", "--exec-id", "look", stranger)
    assert f"inet {address}/12" in containerd.run(*look, "/bin/ip", "address", "show", "ethwe")
    with shared.containers("h2", "asks"):
        shared.until(lambda: shared.reaches("asks", address), bool, "nobody reaches it")
    assert containerd.weave(shared, "attach", stranger[:12]) == address, "by the beginning of its id"
    assert containerd.weave(shared, "detach", stranger) == address
    held = shared.lab.client("h1").value("GET", "ip")
    assert isinstance(held, dict)
    assert stranger not in {row["containerid"] for row in held["owned"]}
