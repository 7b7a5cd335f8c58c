"""The encrypted tunnels that the sleeve is measured beside: Debian's newest wireguard-go and nebula.

Their packages come from the mirror that this machine's own apt uses, are unpacked (never installed) into a cache
directory, and are static programs. Each pair gets two bare hosts on the lab's underlay, and a pod on each, as networks
for containers are built over such a tunnel: a bridge with a subnet of its own on every host, and routes between them.

    pod --veth-- [br0] host tun -- underlay -- tun host [br0] --veth-- pod
"""

import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import handmade
from bench.harness import CannotMeasure, need_program
from bench.processes import cpu_seconds
from weave.lab import kernel
from weave.lab.names import host_name, underlay_address
from weave.net.sleeve.main import go_first
from weave.noise.keys import KeyPair

SUITE = "trixie"
PACKAGES = ("wireguard-go", "nebula")
WIREGUARD_PORT, NEBULA_PORT = 51820, 4242
WIREGUARD_MTU, NEBULA_MTU = 1420, 1400
WIREGUARD_PODS, NEBULA_PODS = "10.96", "10.95"
"""The first half of their addresses; the third octet is the host's."""
FIRST_NUMBER = 211
COMMAND_DEADLINE_S = 300.0
READY_DEADLINE_S = 15.0
UAPI = Path("/var/run/wireguard")


@dataclass(frozen=True, slots=True)
class Rival:
    """A running pair of tunnels."""

    name: str
    client: str
    """Namespace of the first host's pod."""
    server: str
    address: str
    """Of the second host's pod."""
    pids: tuple[int, ...]

    def cpu_seconds(self) -> float:
        """Return what both ends have used so far."""
        return sum(map(cpu_seconds, self.pids))


def obtain() -> dict[str, Path]:
    """Return where the unpacked programs are, fetched at the first time."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "weave-bench"
    root = cache / "root"
    programs = {name: root / "usr" / "bin" / name for name in (*PACKAGES, "nebula-cert")}
    if not all(path.exists() for path in programs.values()):
        _fetch(cache, root)
    missing = [name for name, path in programs.items() if not path.exists()]
    if missing:
        raise CannotMeasure(f"the packages of Debian {SUITE} have no {', '.join(missing)}")
    return programs


def _fetch(cache: Path, root: Path) -> None:
    """Download and unpack, with lists and cache of our own, so that the machine's packages stay as they are."""
    for part in ("lists/partial", "archives/partial"):
        (cache / part).mkdir(parents=True, exist_ok=True)
    sources = cache / "sources.list"
    keys = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    sources.write_text(f"deb [signed-by={keys}] {_mirror()} {SUITE} main\n")
    options = [f"-o{key}={value}" for key, value in {
        "Dir::Etc::SourceList": sources, "Dir::Etc::SourceParts": "/dev/null", "Dir::State::Lists": cache / "lists",
        "Dir::Cache": cache, "Dir::Cache::archives": cache / "archives", "APT::Sandbox::User": "root",
        "Acquire::Languages": "none"}.items()]
    apt = need_program("apt-get", "apt")
    for words in (["update"], ["download", *PACKAGES]):
        _run([apt, *options, *words], cache)
    for package in cache.glob("*.deb"):
        _run([need_program("dpkg-deb", "dpkg"), "-x", str(package), str(root)], cache)


def _mirror() -> str:
    """Return the Debian mirror that this machine's own apt uses."""
    etc = Path("/etc/apt")
    files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    for path in files:
        for line in path.read_text().splitlines() if path.is_file() else []:
            found = re.match(r"(?:URIs:|deb(?: \[[^]]*\])?) +(\S+/debian)/?(?:\s|$)", line)
            if found is not None:
                return found[1]
    raise CannotMeasure("apt knows no Debian mirror on this machine")


def _run(words: list[str], where: Path) -> None:
    done = subprocess.run(words, cwd=where, capture_output=True, text=True, timeout=COMMAND_DEADLINE_S, check=False)
    if done.returncode:
        raise CannotMeasure(f"{Path(words[0]).name} failed: {(done.stderr or done.stdout).strip()[-200:]}")


@contextmanager
def wireguard(lab: str, program: Path) -> Iterator[Rival]:
    """Have two wireguard-go that know each other."""
    names = [f"wgbench{index}" for index in (1, 2)]
    hosts = [handmade.bare_host(lab, FIRST_NUMBER + index) for index in (0, 1)]
    keys = [KeyPair.from_private(os.urandom(32)) for _ in hosts]
    processes = [_spawn(host, {"WG_PROCESS_FOREGROUND": "1", "LOG_LEVEL": "error"}, str(program), "-f", name)
                 for host, name in zip(hosts, names, strict=True)]
    try:
        for index, (host, name) in enumerate(zip(hosts, names, strict=True)):
            other = 1 - index
            _tell(UAPI / f"{name}.sock", (
                f"set=1\nprivate_key={keys[index].private.hex()}\nlisten_port={WIREGUARD_PORT}\n"
                f"public_key={keys[other].public.hex()}\n"
                f"endpoint={underlay_address(FIRST_NUMBER + other)}:{WIREGUARD_PORT}\n"
                f"allowed_ip=10.98.0.0/24\nallowed_ip={_pods(WIREGUARD_PODS, other)}\n\n"))
            kernel.run("ip", "-n", host, "address", "add", f"10.98.0.{index + 1}/24", "dev", name)
            kernel.run("ip", "-n", host, "link", "set", name, "mtu", str(WIREGUARD_MTU), "up")
            kernel.run("ip", "-n", host, "route", "add", _pods(WIREGUARD_PODS, other), "dev", name)
        yield _pair("wireguard-go", hosts, WIREGUARD_PODS, WIREGUARD_MTU, processes)
    finally:
        _end(processes)


@contextmanager
def nebula(lab: str, programs: dict[str, Path], place: Path) -> Iterator[Rival]:
    """Have two nebulas, the first of which is the lighthouse."""
    hosts = [handmade.bare_host(lab, FIRST_NUMBER + 10 + index) for index in (0, 1)]
    cert = str(programs["nebula-cert"])
    _run([cert, "ca", "-name", "bench", "-duration", "24h"], place)
    processes = []
    try:
        for index, host in enumerate(hosts):
            name = host_name(index)
            _run([cert, "sign", "-name", name, "-ip", f"10.97.0.{index + 1}/24", "-subnets",
                  _pods(NEBULA_PODS, index)], place)
            config = place / f"{name}.yml"
            config.write_text(_nebula_config(place, name, index))
            processes.append(_spawn(host, {}, str(programs["nebula"]), "-config", str(config)))
        _wait_for_ping(hosts[0], "10.97.0.2")
        yield _pair("nebula", hosts, NEBULA_PODS, NEBULA_MTU, processes)
    finally:
        _end(processes)


def _nebula_config(place: Path, name: str, index: int) -> str:
    places = "\n".join(f'  "10.97.0.{each + 1}": ["{underlay_address(FIRST_NUMBER + 10 + each)}:{NEBULA_PORT}"]'
                       for each in (0, 1))
    house = "true" if index == 0 else "false"
    others = "" if index == 0 else '\n  hosts: ["10.97.0.1"]'
    return f"""pki: {{ca: {place}/ca.crt, cert: {place}/{name}.crt, key: {place}/{name}.key}}
static_host_map:
{places}
lighthouse:
  am_lighthouse: {house}{others}
listen: {{host: 0.0.0.0, port: {NEBULA_PORT}, read_buffer: 8388608, write_buffer: 8388608}}
tun:
  dev: nebbench{index}
  mtu: {NEBULA_MTU}
  tx_queue: 1000
  unsafe_routes: [{{route: {_pods(NEBULA_PODS, 1 - index)}, via: 10.97.0.{2 - index}}}]
cipher: aes
logging: {{level: error}}
firewall:
  outbound: [{{port: any, proto: any, host: any}}]
  inbound: [{{port: any, proto: any, host: any}}]
"""


def _spawn(host: str, environment: dict[str, str], *words: str) -> "subprocess.Popen[bytes]":
    """Start a rival with the precedence that the sleeve gives itself: what is compared is not the scheduler."""
    process = subprocess.Popen(kernel.inside(host, *words), env={**os.environ, **environment},
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               start_new_session=True)
    go_first(process.pid)
    return process


def _tell(path: Path, words: str) -> None:
    """Configure a wireguard by its own protocol; no other tool is needed."""
    until = time.monotonic() + READY_DEADLINE_S
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(path))
                sock.sendall(words.encode())
                answer = sock.recv(4096).decode()
        except OSError as exc:
            if time.monotonic() > until:
                raise CannotMeasure(f"wireguard-go does not listen on {path}: {exc}") from exc
            time.sleep(0.05)
            continue
        if "errno=0" not in answer:
            raise CannotMeasure(f"wireguard-go refuses its configuration: {answer.strip()}")
        return


def _pods(net: str, index: int) -> str:
    """Return the subnet of the pods of one host."""
    return f"{net}.{index + 1}.0/24"


def _pair(name: str, hosts: Sequence[str], net: str, mtu: int, processes: "list[subprocess.Popen[bytes]]") -> Rival:
    """Give each host a pod; return both ends, once they reach each other."""
    pods = [handmade.routed_pod(host, f"{net}.{index + 1}", mtu) for index, host in enumerate(hosts)]
    address = f"{net}.2.{handmade.POD_NUMBER}"
    _wait_for_ping(pods[0], address)
    return Rival(name, pods[0], pods[1], address, tuple(process.pid for process in processes))


def _wait_for_ping(host: str, address: str) -> None:
    until = time.monotonic() + READY_DEADLINE_S
    while subprocess.run(kernel.inside(host, "ping", "-c1", "-W1", address), capture_output=True,
                         check=False).returncode:
        if time.monotonic() > until:
            raise CannotMeasure(f"no ping from {host} to {address}")


def _end(processes: "list[subprocess.Popen[bytes]]") -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
