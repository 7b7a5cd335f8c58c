"""The plugins that are put to the test: the reference ones of Debian, which prove the cases, and ours.

    bare host                      lab host h1
    bridge + host-local            router <- weave-net (script), weave-net (C)
    ptp + host-local                         weave-net + host-local
    bridge + weave-ipam  ------------------> weave-ipam
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conformance.cni.plugin import PREFIX, Plugin, sweep_namespaces
from weave.lab import kernel
from weave.lab.lab import Lab, temporary
from weave.lab.names import namespace

LAB = "cniconf"
REFERENCE = Path("/usr/lib/cni")
SHIM = Path(__file__).resolve().parents[3] / "weave" / "cni" / "weave-net"
REFERENCE_VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0")
COMPILE = Path(__file__).resolve().parents[3] / "scripts" / "cni-program.sh"


@contextmanager
def bare_host(name: str) -> Iterator[str]:
    """Give a network namespace to be the host of plugins that need nothing else."""
    host = f"{PREFIX}{os.getpid()}-{name}"
    kernel.add_namespace(host)
    try:
        yield host
    finally:
        kernel.delete_namespace(host)


def install_program(program: Path) -> None:
    """Build our executable for hosts without Python."""
    subprocess.run([COMPILE, program], check=True)


def install(place: Path) -> None:
    """Put our executables, of both kinds and under both names, where a runtime would find them."""
    for kind in ("script", "c"):
        directory = place / kind
        directory.mkdir()
        program = directory / "weave-net"
        if kind == "script":
            shutil.copy(SHIM, program)
        else:
            install_program(program)
        (directory / "weave-ipam").symlink_to("weave-net")


def _host_local(place: Path, subnet: str) -> dict[str, Any]:
    return {"type": "host-local", "subnet": subnet, "dataDir": str(place), "routes": [{"dst": "0.0.0.0/0"}]}


def _files(place: Path, network: str) -> Callable[[], int]:
    """Return what counts the addresses that host-local holds."""
    return lambda: sum(path.name[0].isdigit() for path in (place / network).glob("*")) if place.exists() else 0


def reference(host: str, place: Path) -> list[Plugin]:
    """Return Debian's plugins."""
    subnets = {"bridge": "10.71.0.0/16", "ptp": "10.72.0.0/16"}
    more: dict[str, dict[str, Any]] = {"bridge": {"bridge": "cni0", "isGateway": True}, "ptp": {}}
    return [Plugin(name=f"{kind} + host-local", program=REFERENCE / kind, host=host, versions=REFERENCE_VERSIONS,
                   can_twice=kind != "ptp", held=_files(place / kind, "conf"), path=str(REFERENCE),
                   configuration={"name": "conf", "type": kind, **more[kind],
                                  "ipam": _host_local(place / kind, subnet)})
            for kind, subnet in subnets.items()]


def ours(lab: Lab, place: Path, bare: str) -> list[Plugin]:
    """Return our plugins, alone and together with others."""
    client = lab.client("h1")

    def held() -> int:
        owned = client.value("GET", "ip")
        assert isinstance(owned, dict)
        return sum(len(row["addrs"]) for row in owned["owned"] if row["containerid"] != "weave:expose")

    @contextmanager
    def down() -> Iterator[None]:
        lab.kill("h1")
        try:
            yield
        finally:
            lab.start("h1")

    environment = {"WEAVE_SOCKET": str(lab.socket("h1"))}
    host = namespace(lab.name, "h1")

    def made(name: str, program: Path, conf: dict[str, Any], versions: Sequence[str], count: Callable[[], int],
             **more: Any) -> Plugin:
        path = f"{place / 'script'}:{REFERENCE}"
        return Plugin(name=name, program=program, configuration={"name": "conf", **conf}, held=count,
                      versions=versions, path=path, environment=environment, **{"host": host, **more})

    everything = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
    default_route = [{"dst": "0.0.0.0/0"}]
    return [
        made("weave-net, script", place / "script" / "weave-net", {"type": "weave-net"}, everything, held, down=down),
        made("weave-net, C", place / "c" / "weave-net", {"type": "weave-net"}, everything, held, down=down),
        made("bridge + weave-ipam", REFERENCE / "bridge", {
            "type": "bridge", "bridge": "cni1", "isGateway": True,
            "ipam": {"type": "weave-ipam", "gateway": "10.32.0.1", "routes": default_route}}, REFERENCE_VERSIONS, held,
            host=bare),
        made("weave-net + host-local", place / "script" / "weave-net", {
            "type": "weave-net", "ipam": _host_local(place / "delegated", "10.73.0.0/16")}, REFERENCE_VERSIONS,
            _files(place / "delegated", "conf")),
    ]


@contextmanager
def all_plugins(place: Path) -> Iterator[list[Plugin]]:
    """Give every plugin, with what it needs around it."""
    sweep_namespaces()
    install(place)
    with bare_host("host") as host, temporary(LAB) as lab:
        lab.up(1)
        yield [*reference(host, place), *ours(lab, place, host)]
