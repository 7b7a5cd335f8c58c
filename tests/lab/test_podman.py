"""Debian's Podman with the configuration of docs/cni.md, alone on a host of the lab: nothing of the machine's Podman.

    h1   router <- weave-net <- podman run --network weave      images are made here: no registry is asked
    h2   router, and a container to talk to
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.conformance.cni.plugins import REFERENCE, SHIM
from tests.lab.busybox import BUSYBOX, rootfs
from tests.lab.world import LAB, World, world
from weave.lab import kernel
from weave.lab.names import namespace

DOCUMENT = Path(__file__).parents[2] / "docs" / "cni.md"
pytestmark = [
    *LAB,
    pytest.mark.skipif(shutil.which("podman") is None, reason="the machine has no podman"),
    pytest.mark.skipif(not BUSYBOX.exists(), reason="the machine has no busybox-static, of which the image is"),
    pytest.mark.skipif(not (REFERENCE / "portmap").exists(), reason="the machine has no containernetworking-plugins"),
]
IMAGE = "lab.local/busybox:1"
LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024")
"""Podman would raise them beyond ours, which a root without CAP_SYS_RESOURCE cannot."""


@dataclass(frozen=True, slots=True)
class Podman:
    """Podman on a host, with all that it keeps in one directory."""

    hosts: World
    place: Path

    def run(self, *words: str) -> str:
        """Run a command of podman and return what it printed; it must succeed."""
        done = self.attempt(*words)
        assert done.returncode == 0, f"podman {' '.join(words)}: {done.stderr}"
        return done.stdout.strip()

    def attempt(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of podman."""
        store = [f"--root={self.place}/root", f"--runroot={self.place}/run", f"--tmpdir={self.place}/tmp",
                 "--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=file"]
        variables = [f"CONTAINERS_CONF={self.place}/containers.conf", f"WEAVE_SOCKET={self.hosts.lab.socket('h1')}"]
        enter = ["nsenter", f"--net={kernel.NETNS_DIR / namespace(self.hosts.lab.name, 'h1')}"]  # mounts stay shared
        return subprocess.run([*enter, "env", *variables, "podman", *store, *words], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False, timeout=60)

    @contextmanager
    def running(self, name: str, *options: str, command: Sequence[str] = ("sleep", "600")) -> Iterator[str]:
        """Have a container on the network of weave; give its address."""
        self.run("run", "--detach", *LIMITS, "--network=weave", f"--name={name}", *options, IMAGE,
                 *command)
        try:
            [seen] = json.loads(self.run("inspect", name))
            yield seen["NetworkSettings"]["Networks"]["weave"]["IPAddress"]
        finally:
            self.run("rm", "--force", "--time=0", name)


def documented(language: str) -> str:
    """Return the block that docs/cni.md has for Podman in a language."""
    chapter = DOCUMENT.read_text().partition("\n## Podman")[2]
    found = re.search(rf"```{language}\n(.*?)```", chapter, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """Give a directory with a short name: podman takes no more than 50 characters of it."""
    with TemporaryDirectory(prefix="podman", ignore_cleanup_errors=True) as made:
        yield Path(made)


@pytest.fixture(scope="module")
def podman(place: Path) -> Iterator[Podman]:
    (place / "net.d").mkdir()
    (place / "net.d" / "10-weave.conflist").write_text(documented("json"))
    (place / "bin").mkdir()
    (place / "bin" / "weave-net").symlink_to(SHIM)
    conf = documented("toml").replace('"/opt/cni/bin"', f'"{place}/bin"')
    ours = f'network_config_dir = "{place}/net.d"\n[engine]\nlock_type = "file"\n'
    (place / "containers.conf").write_text(conf + ours)
    (place / "rootfs.tar").write_bytes(rootfs())
    with world("podman", 2) as hosts:
        made = Podman(hosts, place)
        made.run("import", "--quiet", str(place / "rootfs.tar"), IMAGE)
        try:
            yield made
        finally:
            made.run("rm", "--all", "--force", "--time=0")


def test_a_container_gets_address_and_name_and_leaves_nothing(podman: Podman) -> None:
    hosts = podman.hosts
    with hosts.containers("h2", "there") as [there]:
        hosts.wait("h1", lambda seen: "there.weave.local." in {row["Hostname"] for row in seen["DNS"]["Entries"]},
                   "name of the other")
        with podman.running("web") as address:
            hosts.wait("h2", lambda seen: any(f"{address}/12" in row["Addresses"] for row in seen["Endpoints"]),
                       "endpoint")
            assert hosts.reaches("there", address)
            podman.run("exec", "web", "ping", "-c1", "-W3", there)
            assert there in podman.run("exec", "web", "nslookup", "there.weave.local")
            assert address in podman.run("exec", "web", "nslookup", "web.weave.local")
        hosts.wait("h1", lambda seen: not any(f"{address}/12" in row["Addresses"] for row in seen["Endpoints"]),
                   "endpoint of a container that is gone")
        # it is freed after the cable is gone
        hosts.until(lambda: json.dumps(hosts.lab.client("h1").value("GET", "ip")),
                    lambda owned: f'"{address}/' not in owned, "address of a container that is gone")


def test_address_aliases_and_ports_are_those_that_are_asked_for(podman: Podman) -> None:
    hosts = podman.hosts
    options = ("--ip=10.40.9.9", "--mac-address=02:42:ac:11:00:09", "--network-alias=shop", "--publish=8080:80")
    serve = ("sh", "-c", "while :; do echo here | nc -l -p 80; done")
    with podman.running("asked", *options, command=serve) as address:
        assert address == "10.40.9.9"
        assert "02:42:ac:11:00:09" in podman.run("exec", "asked", "ip", "link", "show", "eth0")
        hosts.wait("h2", lambda seen: "shop.weave.local." in {row["Hostname"] for row in seen["DNS"]["Entries"]},
                   "alias")
        assert "here" in hosts.inside("h2", "nc", "-w", "3", "198.51.100.1", "8080")


def test_a_container_of_podman_can_be_attached_by_name_and_id(podman: Podman) -> None:
    podman.run("run", "--detach", *LIMITS, "--network=none", "--name=alone", IMAGE, "sleep", "600")
    ident = podman.run("inspect", "--format={{.Id}}", "alone")
    try:
        address = podman.hosts.weave("h1", "attach", ident).strip()
        assert f"inet {address}/12" in podman.run("exec", "alone", "ip", "address", "show", "ethwe")
        assert podman.hosts.weave("h1", "attach", ident[:12]).strip() == address
        assert podman.hosts.weave("h1", "detach", ident).strip() == address
    finally:
        podman.run("rm", "--force", "--time=0", "alone")
