"""Hosts in network namespaces on one machine: the users' sandbox, the demo and the integration tests.

    host h1 (namespace)            underlay (namespace)           host h2 (namespace)
    +--------------------+         +------------------+          +--------------------+
    | router, bridge,    |  eth0   |       br0        |   eth0   | router, bridge,    |
    | VXLAN, containers  |---------| 198.51.100.0/24  |----------| VXLAN, containers  |
    +--------------------+         +------------------+          +--------------------+

Routers are the real program with a state directory each; containers are namespaces attached by the real command.
Everything carries the lab's name, so that `down` finds and removes it after whatever happened.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weave.api.client import Client
from weave.errors import EnvironmentFailure, LocalError, WeaveError
from weave.lab import kernel
from weave.lab.names import (
    MAX_HOSTS,
    PREFIX,
    SWITCH,
    UNDERLAY,
    checked,
    host_name,
    lab_of,
    namespace,
    underlay_address,
    underlay_mac,
)
from weave.lab.state import HostState, LabState, Process, directory, labs, load, locked, reserved, start_time
from weave.settings import hide_password

ROUTER_READY_DEADLINE_S = 30.0
READY_EACH_S = 1.0
"""By which that is longer for each router that starts at the same time."""
PROCESS_END_DEADLINE_S = 10.0
POLL_S = 0.02
ETC_NETNS = Path("/etc/netns")
"""ip-netns(8): files below NAME/ here stand in for those of /etc while a command runs in namespace NAME."""

_children: dict[int, "subprocess.Popen[bytes]"] = {}
"""Routers that this very process started; they outlive it, but until then somebody must collect how they ended."""


@dataclass(frozen=True, slots=True)
class HostView:
    """What `weave lab ls` shows of a host."""

    name: str
    address: str
    router: str
    containers: tuple[str, ...]


class Lab:
    """One lab, by name; every method is one command."""

    def __init__(self, name: str = "lab") -> None:
        self.name = checked("lab", name)

    # -- hosts --------------------------------------------------------------------------------------------------

    def up(self, count: int, *, options: Sequence[str] = ()) -> list[str]:
        """Bring the lab up to `count` hosts and return the new ones; the ones that are there stay as they are."""
        if not 1 <= count <= MAX_HOSTS:
            raise LocalError(f"a lab has from 1 to {MAX_HOSTS} hosts, not {count}")
        with locked(self.name) as state:
            fresh = [host_name(number) for number in range(1, count + 1) if host_name(number) not in state.hosts]
            if options and not fresh and any(host.options != list(options) for host in state.hosts.values()):
                raise LocalError(f"{count} hosts are up already, and options are for the routers of new ones; "
                                 "`weave lab down` removes these")
            switch = namespace(self.name, SWITCH)
            if switch not in kernel.namespaces(switch):
                kernel.add_switch(switch)
            kernel.make_room_for_neighbours(count)
            first_up = not state.hosts
            for name in fresh:
                self._add_host(state, name, int(name[1:]), list(options))
            for name in fresh:
                self._start(state, name, together=count if first_up else 0)
        for name in fresh:
            self._wait_ready(name, ROUTER_READY_DEADLINE_S + len(fresh) * READY_EACH_S)
        return fresh

    def start(self, host: str, *, options: Sequence[str] | None = None) -> None:
        """Start the router of a host again, with other options where some are given."""
        with locked(self.name) as state:
            where = self._host(state, host)
            if options is not None:
                where.options = list(options)
            self._start(state, host, together=0)
        self._wait_ready(host)

    def kill(self, host: str, number: int = signal.SIGKILL) -> None:
        """End the router of a host (by kill -9 unless told otherwise) and wait until it is gone."""
        with locked(self.name) as state:
            router = self._host(state, host).router
            if router is None or not router.alive:
                raise LocalError(f"no router runs on {host}; `weave lab start {host}` starts it")
            _end(router, number)

    def hosts(self) -> list[HostView]:
        """Return the hosts of the lab, in order."""
        state = load(self.name)
        return [
            HostView(name, str(underlay_address(host.number)),
                     f"running (pid {host.router.pid})" if host.router and host.router.alive else "stopped",
                     tuple(host.containers))
            for name, host in sorted(state.hosts.items(), key=lambda item: item[1].number)
        ]

    # -- containers and commands --------------------------------------------------------------------------------

    def run(self, host: str, name: str, *, arguments: Sequence[str] = ()) -> list[str]:
        """Make a container-like namespace on a host, attach it by the real command, return its addresses."""
        checked("container", name)
        with locked(self.name) as state:
            where = self._host(state, host)
            if any(name in other.containers for other in state.hosts.values()):
                raise LocalError(f"a container {name} is in this lab already")
            netns = namespace(self.name, host, name)
            kernel.add_namespace(netns)
            try:
                report = self.report(host)
                self._write_resolver(netns, report)
                done = self._weave(host, "attach", *arguments, "--fqdn", f"{name}.{_domain(report)}", netns)
            except WeaveError:
                kernel.delete_namespace(netns)
                shutil.rmtree(ETC_NETNS / netns, ignore_errors=True)
                raise
            where.containers.append(name)
            self._write_resolver(netns, self.report(host))
            return done.split()

    def remove(self, name: str) -> None:
        """Detach a container and remove its namespace; a router that does not run sees later that it is gone."""
        with locked(self.name) as state:
            host, netns = self._find_container(state, name)
            router = state.hosts[host].router
            if router is not None and router.alive:
                self._weave(host, "detach", netns)
            kernel.delete_namespace(netns)
            shutil.rmtree(ETC_NETNS / netns, ignore_errors=True)
            state.hosts[host].containers.remove(name)

    def command(self, place: str, words: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """Return the command line and environment that run `words` on a host or in a container."""
        state = load(self.name)
        if place in state.hosts:
            host, netns = place, namespace(self.name, place)
        elif place == SWITCH:
            host, netns = SWITCH, namespace(self.name, SWITCH)
        else:
            host, netns = self._find_container(state, place)
        return kernel.inside(netns, *words), {
            **os.environ,
            # all that says which router is meant: without one of these `weave reset` would take this machine's
            "WEAVE_SOCKET": str(self.socket(host)),
            "WEAVE_STATE_DIR": str(self.state_dir(host)),
            "WEAVE_NPC_SOCKET": str(directory(self.name) / host / "npc.sock"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
        }

    def execute(self, place: str, *words: str, timeout: float = 30.0) -> "subprocess.CompletedProcess[str]":
        """Run a command on a host or in a container and return how it went."""
        command, environment = self.command(place, words)
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, check=False)

    def client(self, host: str) -> Client:
        """Return a client of the control API of a host's router."""
        return Client(str(self.socket(host)))

    def report(self, host: str) -> dict[str, Any]:
        """Return the report of a host's router."""
        seen = self.client(host).value("GET", "report")
        if not isinstance(seen, dict):
            raise EnvironmentFailure(f"the router of {host} sent no report")
        return seen

    def socket(self, host: str) -> Path:
        """Return where the router of a host listens for us."""
        return directory(self.name) / host / "weave.sock"

    def state_dir(self, host: str) -> Path:
        """Return where the router of a host keeps its state."""
        return directory(self.name) / host / "state"

    def log_file(self, host: str) -> Path:
        """Return the log of a host's router."""
        return directory(self.name) / host / "router.log"

    # -- the underlay -------------------------------------------------------------------------------------------

    def cut(self, a: str, b: str) -> None:
        """Make two hosts deaf to each other."""
        with locked(self.name) as state:
            for host in (a, b):
                self._host(state, host)
            pair = (min(a, b), max(a, b))
            if a == b:
                raise LocalError("a host cannot be cut off from itself")
            if pair not in state.cuts:
                state.cuts.append(pair)
            self._apply_cuts(state)

    def heal(self) -> None:
        """Undo every cut."""
        with locked(self.name) as state:
            state.cuts.clear()
            self._apply_cuts(state)

    # -- the end ------------------------------------------------------------------------------------------------

    def down(self) -> int:
        """Remove the lab, whatever state it is in; return how many namespaces went."""
        prefix = f"{PREFIX}{self.name}-"
        found = [netns for netns in kernel.namespaces(prefix) if lab_of(netns) == self.name]
        for netns in found:
            for pid in kernel.pids_in(netns):
                started = start_time(pid)
                if started is not None and pid != os.getpid():
                    _end(Process(pid, started), signal.SIGKILL)
        for netns in found:
            kernel.delete_namespace(netns)
        for leftover in ETC_NETNS.glob(f"{prefix}*"):
            if lab_of(leftover.name) == self.name:
                shutil.rmtree(leftover, ignore_errors=True)
        shutil.rmtree(directory(self.name), ignore_errors=True)
        for parent in (ETC_NETNS, directory(self.name).parent):
            with suppress(OSError):  # another lab may have something there, or remove it just now
                parent.rmdir()
        return len(found)

    # -- inside -------------------------------------------------------------------------------------------------

    def _add_host(self, state: LabState, name: str, number: int, options: list[str]) -> None:
        netns = namespace(self.name, name)
        kernel.add_namespace(netns)
        kernel.plug(namespace(self.name, SWITCH), netns, port=name, mac=underlay_mac(number),
                    address=f"{underlay_address(number)}/{UNDERLAY.prefixlen}")
        (directory(self.name) / name).mkdir(mode=0o700, exist_ok=True)
        state.hosts[name] = HostState(number, options)

    def _start(self, state: LabState, name: str, *, together: int) -> None:
        """Start the router of a host; a first group of `together` hosts divides the range among itself."""
        host = state.hosts[name]
        if host.router is not None and host.router.alive:
            raise LocalError(f"the router of {name} runs already (pid {host.router.pid})")
        others = [str(underlay_address(other.number)) for key, other in sorted(state.hosts.items()) if key != name]
        options, secret = hide_password(host.options)
        words = [sys.executable, "-m", "weave.router", "--nickname", name, "--state-dir", str(self.state_dir(name)),
                 "--socket", str(self.socket(name)), *options, *others]
        if together and not any(option.startswith("--ipalloc-init") for option in host.options):
            words.append(f"--ipalloc-init=consensus={together}")
        environment = {**os.environ, **({} if secret is None else {"WEAVE_PASSWORD": secret})}
        with self.log_file(name).open("ab") as output:
            child = subprocess.Popen(
                kernel.inside(namespace(self.name, name), *words), env=environment,
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )
        for pid in list(_children):
            _reap(pid)
        _children[child.pid] = child
        started = start_time(child.pid)
        if started is None:
            raise EnvironmentFailure(f"the router of {name} ended at once; see {self.log_file(name)}")
        host.router = Process(child.pid, started)
        state.hosts[name] = host

    def _wait_ready(self, name: str, deadline_s: float = ROUTER_READY_DEADLINE_S) -> None:
        router = load(self.name).hosts[name].router
        assert router is not None, "only started hosts are waited for"
        deadline = time.monotonic() + deadline_s
        while time.monotonic() < deadline:
            if not router.alive:
                lines = self.log_file(name).read_text(errors="replace").strip().splitlines()
                raise EnvironmentFailure(f"the router of {name} ended: {lines[-1] if lines else 'without a word'}")
            try:
                if self.report(name).get("Ready"):
                    return
            except WeaveError:
                pass
            time.sleep(POLL_S)
        raise EnvironmentFailure(f"the router of {name} was not ready in {deadline_s:g} s; "
                                 f"see {self.log_file(name)}")

    def _weave(self, host: str, *words: str) -> str:
        done = self.execute(host, sys.executable, "-m", "weave", *words, timeout=60.0)
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["it did not say why"]
            raise EnvironmentFailure(f"`weave {words[0]}` on {host}: {said[-1].removeprefix('weave: ')}")
        return done.stdout

    def _write_resolver(self, netns: str, report: dict[str, object]) -> None:
        """Point the resolver of a container at weave DNS, as a container runtime would."""
        dns = report.get("DNS")
        if not isinstance(dns, dict):
            return
        (ETC_NETNS / netns).mkdir(parents=True, exist_ok=True)
        server = str(dns.get("Address") or "").rpartition(":")[0].strip("[]")
        lines = [f"search {_domain(report)}", "options ndots:1 timeout:2 attempts:2"]
        (ETC_NETNS / netns / "resolv.conf").write_text(
            "".join(f"{line}\n" for line in ([f"nameserver {server}"] if server else []) + lines))

    def _apply_cuts(self, state: LabState) -> None:
        macs = [(underlay_mac(state.hosts[a].number), underlay_mac(state.hosts[b].number)) for a, b in state.cuts]
        kernel.set_cuts(namespace(self.name, SWITCH), macs)

    def _host(self, state: LabState, name: str) -> HostState:
        if name not in state.hosts:
            known = ", ".join(sorted(state.hosts)) or "none; `weave lab up 3` makes some"
            raise LocalError(f"there is no host {name} in lab {self.name} (hosts: {known})")
        return state.hosts[name]

    def _find_container(self, state: LabState, name: str) -> tuple[str, str]:
        for host, where in state.hosts.items():
            if name in where.containers:
                return host, namespace(self.name, host, name)
        raise LocalError(f"there is no host or container {name} in lab {self.name}; `weave lab ls` shows what there is")


@contextmanager
def temporary(name: str) -> Iterator[Lab]:
    """Give a fresh lab and remove it afterwards; what a crashed run left under its name goes first.

    Where another run has the name, the lab is called name-2, or whatever is free.
    """
    with reserved(name) as word:
        lab = Lab(word)
        lab.down()
        try:
            yield lab
        finally:
            lab.down()


def all_labs() -> list[str]:
    """Return every lab there is, also one of which only namespaces are left."""
    found = map(lab_of, kernel.namespaces(PREFIX))
    return sorted({lab for lab in found if lab is not None} | set(labs()))


def _domain(report: dict[str, object]) -> str:
    dns = report.get("DNS")
    return str(dns.get("Domain", "weave.local.")).rstrip(".") if isinstance(dns, dict) else "weave.local"


def _end(process: Process, number: int) -> None:
    """Signal a process and wait until it is gone; raise `EnvironmentFailure` where it will not go."""
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        return
    deadline = time.monotonic() + PROCESS_END_DEADLINE_S
    while process.alive and time.monotonic() < deadline:
        _reap(process.pid)
        time.sleep(POLL_S)
    _reap(process.pid)
    if process.alive:
        raise EnvironmentFailure(f"process {process.pid} did not end within {PROCESS_END_DEADLINE_S:g} s")


def _reap(pid: int) -> None:
    """Collect the exit status of a child of ours; processes of an earlier command are not ours to collect."""
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        del _children[pid]
