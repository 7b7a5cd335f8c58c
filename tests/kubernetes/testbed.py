"""A real Kubernetes cluster on this machine, with our manifests applied unchanged.

    network namespace weavek8s                weavek8s-n1             weavek8s-n2 ...
    etcd, apiserver, scheduler ── br0 ─┬── eth0  containerd, kubelet, kube-proxy, our DaemonSet
                        172.31.0.1     └── eth0  172.31.0.12

The control plane and the nodes come from a testbed of scripts and binaries that lies beside the project (or where
`WEAVE_TESTBED` says); nothing of it is in the project. Each node gets a `/var/lib/weave` of its own, which is the only
thing that is added to the testbed's own node.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).parents[2]
TESTBED = Path(os.environ.get("WEAVE_TESTBED", ROOT.parent / "shared" / "testbed")) / "k8s"
WORK = Path(os.environ.get("WEAVE_K8S_DIR", "/var/tmp/weave-kubernetes"))
LAB = os.environ.get("WEAVE_K8S_LAB", "weavek8s")
"""What the network namespaces are called; another name and another `WEAVE_K8S_DIR` give a second cluster."""
SUBNET = "172.31.0"
POD_RANGE = "10.32.0.0/12"
"""What kube-proxy takes for pods' addresses; from anywhere else services are masqueraded."""
NODES = ("n1", "n2", "n3")
POLL_S = 0.3
COMMAND_DEADLINE_S = 120.0
Seen = TypeVar("Seen")


class KubernetesError(Exception):
    """A command of the cluster failed, or something did not come true in time."""


def available() -> bool:
    """Say whether the testbed is beside the project."""
    return (TESTBED / "up.sh").exists()


def wait_for(look: Callable[[], Seen], holds: Callable[[Seen], object], otherwise: str, deadline_s: float) -> Seen:
    """Look until something holds and return what was seen; looking may fail meanwhile."""
    ends = time.monotonic() + deadline_s
    last: object = None
    while True:
        try:
            seen = look()
            if holds(seen):
                return seen
            last = seen
        except (KubernetesError, subprocess.TimeoutExpired, AssertionError) as exc:
            last = exc
        if time.monotonic() > ends:
            raise KubernetesError(f"{otherwise} within {deadline_s:g} s; last seen: {str(last)[-1500:]}")
        time.sleep(POLL_S)


@dataclass(slots=True)
class Cluster:
    """The cluster: started, asked, hurt and ended from here."""

    nodes: tuple[str, ...] = NODES
    scripts: Path = WORK / "scripts"
    state: Path = WORK / "state"
    extra: Mapping[str, str] = field(default_factory=dict)
    proxy_mode: str = "iptables"
    """How kube-proxy makes services."""
    booted: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    """Nodes and parts of the control plane that were started again from here."""

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "K8S_DIR": str(WORK), "S": str(self.state), "LAB": LAB, "SUB": SUBNET, "CNI": "none",
                "PODCIDR": POD_RANGE, "NODES": str(len(self.nodes)), **self.extra}

    # -- life -----------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Install what the testbed needs, and take a copy of its scripts in which a node has our state directory."""
        WORK.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.down()
        if not (WORK / "images" / "pause.tar").exists():
            self._script(TESTBED / "setup.sh", deadline_s=900)
        shutil.rmtree(self.scripts, ignore_errors=True)
        shutil.copytree(TESTBED, self.scripts, ignore=shutil.ignore_patterns("prebuilt"))
        for script in self.scripts.glob("*"):
            script.chmod(0o755)
        node = self.scripts / "node-init.sh"
        before = node.read_text()
        after = before.replace("cni-lib:/var/lib/cni ", "cni-lib:/var/lib/cni weave:/var/lib/weave ").replace(
            "/var/lib/cni /etc/cni", "/var/lib/cni /var/lib/weave $D/weave /etc/cni")
        assert after.count("/var/lib/weave") == 2, "the testbed's node script mounts /var/lib/cni in another way now"
        assert after.count("\nmode: iptables\n") == 1, "the testbed's node script sets kube-proxy's mode otherwise now"
        node.write_text(after.replace("\nmode: iptables\n", f"\nmode: {self.proxy_mode}\n"))

    def up(self) -> None:
        """Start control plane and nodes; they are not Ready, since there is no network yet."""
        self._script(self.scripts / "up.sh", deadline_s=240)

    def down(self) -> None:
        """Remove the cluster, also one that a crashed run left."""
        self._script((self.scripts if self.scripts.exists() else TESTBED) / "down.sh", deadline_s=120)
        for process in self.booted:
            process.wait(20)
        self.booted.clear()
        shutil.rmtree(self.state, ignore_errors=True)

    def load_image(self, archive: Path) -> None:
        """Import an image on every node."""
        def load(node: str) -> None:
            self.on(node, "ctr", "-n", "k8s.io", "images", "import", str(archive), deadline_s=300)

        with ThreadPoolExecutor() as pool:
            list(pool.map(load, self.nodes))

    def _script(self, script: Path, *words: str, deadline_s: float) -> str:
        return self._run([str(script), *words], deadline_s)

    def _run(self, command: Sequence[str], deadline_s: float = COMMAND_DEADLINE_S, stdin: str | None = None) -> str:
        done = subprocess.run(command, env=self.environment, input=stdin, capture_output=True, text=True,
                              timeout=deadline_s, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise KubernetesError(f"`{' '.join(command)[:300]}` ended with {done.returncode}: {said[-1500:]}")
        return done.stdout

    # -- asking ---------------------------------------------------------------------------------------------------

    def kubectl(self, *words: str, stdin: str | None = None, deadline_s: float = COMMAND_DEADLINE_S) -> str:
        """Run kubectl as the administrator."""
        return self._run([str(self.scripts / "k.sh"), *words], deadline_s, stdin)

    def objects(self, *words: str) -> list[dict[str, Any]]:
        """Return what `kubectl get` lists."""
        listed = json.loads(self.kubectl("get", *words, "-o", "json"))
        return list(listed["items"]) if "items" in listed else [listed]

    def apply(self, manifest: str) -> None:
        """Apply manifests given as text."""
        self.kubectl("apply", "-f", "-", stdin=manifest)

    def on(self, node: str, *words: str, deadline_s: float = COMMAND_DEADLINE_S) -> str:
        """Run a command inside a node."""
        return self._run([str(self.scripts / "node.sh"), node, *words], deadline_s)

    def in_lab(self, *words: str, deadline_s: float = 30.0) -> str:
        """Run a command beside the control plane, outside of every node."""
        return self._run(["nsenter", f"--net=/run/netns/{LAB}", "--", *words], deadline_s)

    def inside(self, pod: str, *words: str, deadline_s: float = 30.0, container: str | None = None,
               namespace: str = "default") -> str:
        """Run a command inside a pod."""
        which = () if container is None else ("-c", container)
        return self.kubectl("-n", namespace, "exec", pod, *which, "--", *words, deadline_s=deadline_s)

    def log(self, name: str, lines: int) -> str:
        """Return the end of what a part of the control plane had to say."""
        return "\n".join((self.state / "log" / f"{name}.log").read_text(errors="replace").splitlines()[-lines:])

    def address(self, node: str) -> str:
        """Return the address of a node."""
        return f"{SUBNET}.{10 + int(node[1:])}"

    # -- hurting --------------------------------------------------------------------------------------------------

    def pid(self, name: str) -> int:
        """Return the process of a node, or of a part of the control plane."""
        return int((self.state / "pids" / name).read_text())

    def kill(self, name: str) -> None:
        """End a node, or a part of the control plane, at once; a node's processes end with it."""
        with suppress(ProcessLookupError):
            os.kill(self.pid(name), signal.SIGKILL)

    def pause(self, name: str, *, paused: bool = True) -> None:
        """Let a part of the control plane hang, or go on."""
        os.kill(self.pid(name), signal.SIGSTOP if paused else signal.SIGCONT)

    def halt(self, name: str) -> list[str]:
        """End a part of the control plane; return the command that starts it again."""
        command = Path(f"/proc/{self.pid(name)}/cmdline").read_text().rstrip("\0").split("\0")
        self.kill(name)
        return command

    def resume(self, name: str, command: Sequence[str]) -> None:
        """Start a part of the control plane that was ended."""
        self._start(name, ["nsenter", f"--net=/run/netns/{LAB}", "--", *command], self.state / "log" / f"{name}.log")

    def crash(self, node: str) -> None:
        """Cut the power of a node: processes, devices and rules are gone, disks stay."""
        self.kill(node)
        netns = f"{LAB}-{node}"
        wait_for(lambda: subprocess.run(["ip", "netns", "pids", netns], capture_output=True, text=True,
                                        check=False).stdout, lambda pids: not pids.strip(),
                 f"processes of {node} did not end", 20)
        self._run(["ip", "-n", LAB, "link", "delete", f"v{LAB}{node[1:]}"])
        self._run(["ip", "netns", "delete", netns])

    def boot(self, node: str) -> None:
        """Start a node that had crashed."""
        netns, number, address = f"{LAB}-{node}", node[1:], self.address(node)
        self._run(["ip", "netns", "add", netns])
        self._run(["ip", "link", "add", f"v{LAB}{number}", "netns", LAB, "type", "veth",
                   "peer", "name", "eth0", "netns", netns])
        self._run(["ip", "-n", LAB, "link", "set", f"v{LAB}{number}", "master", "br0", "up"])
        for words in (("link", "set", "lo", "up"), ("link", "set", "eth0", "up"),
                      ("addr", "add", f"{address}/24", "dev", "eth0"),
                      ("route", "add", "default", "via", f"{SUBNET}.1")):
            self._run(["ip", "-n", netns, *words])
        spaces = ("--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--propagation", "private")
        self._start(node, ["nsenter", f"--net=/run/netns/{netns}", "--", "unshare", *spaces, "bash",
                           str(self.scripts / "node-init.sh"), node, address], self.state / "log" / f"{node}.log")

    def _start(self, name: str, command: Sequence[str], log_file: Path) -> None:
        with log_file.open("a") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment,
                                       start_new_session=True)
        self.booted.append(process)
        (self.state / "pids" / name).write_text(str(process.pid))
