"""Kinds of clusters that scenarios run in: which of our manifests is applied, to which testbed."""

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.kubernetes.testbed import NODES, ROOT, WORK

DEPLOY = ROOT / "deploy"
PASSWORD = "correct horse battery staple"
DEADLINE_S = 60


@dataclass(frozen=True, slots=True)
class Flavour:
    """One kind of cluster."""

    name: str
    overlay: str = ""
    """A directory of deploy/overlays; empty for the base."""
    nodes: tuple[str, ...] = NODES
    environment: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What the testbed is told."""
    proxy_mode: str = "iptables"
    is_captured: bool = False
    """What nodes say to each other is recorded."""

    def lacks(self) -> str:
        """Say what the machine lacks for it; empty where it lacks nothing."""
        if self.overlay and shutil.which("kubectl") is None:
            return "the testbed's kubectl is too old for our overlays, and the machine has no other (1.21 or newer)"
        if self.proxy_mode == "ipvs" and not _has_ipvs():
            return "this kernel has no IPVS"
        return ""

    def manifest(self) -> str:
        """Return what is applied."""
        if not self.overlay:
            return (DEPLOY / "kubernetes" / "weave.yaml").read_text()
        copy = WORK / "deploy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(DEPLOY, copy)
        directory = copy / "overlays" / self.overlay
        (directory / "password").write_text(PASSWORD)
        return subprocess.run(["kubectl", "kustomize", str(directory)], check=True, capture_output=True, text=True,
                              timeout=DEADLINE_S).stdout


STATIC_PODS = "/var/lib/kubelet/manifests"
PLAIN = Flavour("plain", environment={"KUBELET_OPTS": f"--pod-manifest-path={STATIC_PODS}"})
DUAL_STACK = Flavour("dual stack", "dual-stack", nodes=NODES[:2], environment={"DUAL": "1", "PODCIDR6": "fd00:a::/48"})
"""The block has our range in it, and the size that the testbed divides."""
IPVS = Flavour("ipvs", nodes=NODES[:2], proxy_mode="ipvs")
ENCRYPTED = Flavour("encrypted", "encrypted", is_captured=True)


def _has_ipvs() -> bool:
    if shutil.which("modprobe"):
        subprocess.run(["modprobe", "-q", "ip_vs"], check=False, timeout=DEADLINE_S)
    return Path("/proc/net/ip_vs").exists()


def flavoured(flavour: Flavour) -> list[pytest.MarkDecorator]:
    """Have the tests of a module run in a cluster of this flavour."""
    return [pytest.mark.variant,
            pytest.mark.parametrize("flavour", [flavour], indirect=True, ids=[flavour.name], scope="session")]
