"""Real routers, driven as an operator drives them: by the `weave` command, on a lab of this machine.

                     underlay 198.51.100.0/24
            ┌───────────────┬───────────────┐
           h1              h2              h3        hN is 198.51.100.N, its router is called hN
        router          router          router
        c1  c2 ...      containers      containers

Labs are named after the test module that owns them, and the shared one `shared`; a run beside another one finds names
of its own. Nothing here sleeps for a while and hopes: every wait names what it waits for.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from weave.lab import kernel, probes
from weave.lab.lab import Lab, temporary
from weave.lab.names import UNDERLAY, namespace
from weave.lab.state import load

LAB = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="a lab makes network namespaces, which only root can"),
]
SETTLE_S = 15.0
"""A change is everywhere within a second or two; a busy machine may take longer."""
SILENCE_S = 25.0
"""A cut link is declared dead after 9 s of silence, and dialled again with back-off."""
LOG_SHOWN_CHARACTERS = 2000
PASSWORD = "correct horse battery staple"
SECRET = ("--password", PASSWORD)
TRUSTED = (*SECRET, f"--trusted-subnets={UNDERLAY}")

Report = Mapping[str, Any]
Seen = TypeVar("Seen")


@dataclass(frozen=True, slots=True)
class Box:
    """A container that nobody has attached yet: an empty network namespace."""

    netns: str

    @property
    def path(self) -> Path:
        return kernel.NETNS_DIR / self.netns

    def run(self, *words: str) -> str:
        """Run a command inside and return what it printed."""
        return kernel.run(*kernel.inside(self.netns, *words))

    @contextmanager
    def running(self, *words: str) -> Iterator["subprocess.Popen[str]"]:
        """Run a command inside meanwhile."""
        process = subprocess.Popen(kernel.inside(self.netns, *words), stdin=subprocess.DEVNULL, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def addresses(self, interface: str = "ethwe") -> list[str]:
        """Return the addresses of an interface inside that reach beyond its link."""
        [link] = json.loads(self.run("ip", "-j", "address", "show", "dev", interface))
        return [f"{item['local']}/{item['prefixlen']}" for item in link["addr_info"] if item["scope"] == "global"]


@dataclass(frozen=True, slots=True)
class World:
    """A lab and what the tests ask of it."""

    lab: Lab

    # -- the command line ---------------------------------------------------------------------------------------

    def weave(self, host: str, *words: str, timeout: float = 60.0) -> str:
        """Run a `weave` command on a host and return what it printed; it must succeed."""
        done = self.lab.execute(host, "weave", *words, timeout=timeout)
        assert done.returncode == 0, f"weave {' '.join(words)} on {host}: {done.stderr or done.stdout}"
        return done.stdout

    def refused(self, host: str, *words: str) -> str:
        """Run a `weave` command that must fail with status 1 and one line that says why; return the line."""
        done = self.lab.execute(host, "weave", *words, timeout=60.0)
        assert done.returncode == 1, f"weave {' '.join(words)} on {host} ended with {done.returncode}: {done.stdout}"
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1, f"not one line: {done.stderr}"
        return lines[0]

    def report(self, host: str) -> Report:
        """Return the report of a host."""
        return self.lab.report(host)

    def attach(self, host: str, box: Box) -> tuple[str, str]:
        """Attach a container without the cost of a command; return its first address and its MAC."""
        done = self.lab.client(host).value("PUT", "attachment", box.netns, body={"netns": str(box.path)})
        assert isinstance(done, dict)
        return done["addresses"][0], done["mac"]

    # -- waiting --------------------------------------------------------------------------------------------------

    def wait(self, host: str, holds: Callable[[Report], object], otherwise: str,
             deadline_s: float = SETTLE_S) -> Report:
        """Wait until something holds in the report of a host, and return that report."""
        return probes.wait_for(lambda: self.lab.report(host), lambda seen: bool(holds(seen)), f"{host}: {otherwise}",
                               deadline_s)

    def until(self, look: Callable[[], Seen], holds: Callable[[Seen], object], otherwise: str,
              deadline_s: float = SETTLE_S) -> Seen:
        """Wait until something else holds, and return what was seen."""
        return probes.wait_for(look, lambda seen: bool(holds(seen)), otherwise, deadline_s)

    def connected(self, *hosts: str, deadline_s: float = SETTLE_S) -> None:
        """Wait until each of these hosts is connected to all the others."""
        for host in hosts:
            others = set(hosts) - {host}
            self.wait(host, lambda seen, others=others: others <= probes.established(seen),  # type: ignore[misc]
                      f"is not connected to all of {sorted(others)}", deadline_s)

    def agreed(self, *hosts: str, deadline_s: float = SETTLE_S) -> Report:
        """Wait until these hosts tell the same of peers, ring, names and endpoints; return what they tell."""
        views = self.until(lambda: [view_of(self.lab.report(host)) for host in hosts],
                           lambda seen: all(view == seen[0] for view in seen), f"{hosts} do not agree", deadline_s)
        return views[0]

    # -- containers -----------------------------------------------------------------------------------------------

    def container(self, host: str, name: str, *arguments: str) -> str:
        """Make a container with a name of its own; return its first address without the prefix length."""
        return self.lab.run(host, name, arguments=arguments)[0]

    @contextmanager
    def containers(self, host: str, *names: str) -> Iterator[list[str]]:
        """Have containers while the block runs; give their addresses."""
        made: list[str] = []
        try:
            addresses = []
            for name in names:
                addresses.append(self.container(host, name))
                made.append(name)
            yield addresses
        finally:
            for name in made:
                self.lab.remove(name)

    @contextmanager
    def box(self, host: str, name: str) -> Iterator[Box]:
        """Have a container that is not attached while the block runs; it is detached and removed afterwards."""
        netns = namespace(self.lab.name, host, name)
        kernel.add_namespace(netns)
        try:
            yield Box(netns)
        finally:
            self.lab.client(host).call("DELETE", "attachment", netns)
            if netns in kernel.namespaces(netns):
                kernel.delete_namespace(netns)

    def inside(self, place: str, *words: str, timeout: float = 30.0) -> str:
        """Run a command on a host or in a container and return what it printed; it must succeed."""
        return probes.run(self.lab, place, *words, timeout=timeout)

    def reaches(self, place: str, address: str) -> bool:
        """Say whether one of the pings of a second, from a host or container, is answered."""
        return self.lab.execute(place, "ping", "-c1", "-i0.2", "-w1", address).returncode == 0

    def python(self, place: str, script: str, *words: str, timeout: float = 30.0) -> str:
        """Run a little program on a host or in a container and return what it printed."""
        return self.inside(place, sys.executable, "-ISc", script, *words, timeout=timeout)

    # -- the process ----------------------------------------------------------------------------------------------

    def pid(self, host: str) -> int:
        """Return the process of a host's router."""
        router = load(self.lab.name).hosts[host].router
        assert router is not None
        assert router.alive, f"the router of {host} died: {self.log(host)[-500:]}"
        return router.pid

    def log(self, host: str) -> str:
        """Return the log of a host's router so far."""
        return self.lab.log_file(host).read_text(errors="replace")

    def logs(self) -> str:
        """Return the end of every router's log, for whoever wants to know why a test failed."""
        return "\n".join(f"--- {view.name}, {view.router}\n{self.log(view.name)[-LOG_SHOWN_CHARACTERS:]}"
                         for view in self.lab.hosts() if self.lab.log_file(view.name).exists())

    def state(self, host: str) -> Path:
        """Return the state directory of a host's router."""
        return self.lab.state_dir(host)


@contextmanager
def world(name: str, hosts: int = 3, options: Sequence[str] = TRUSTED) -> Iterator[World]:
    """Have a lab of connected hosts while the block runs."""
    with fresh(name) as made:
        made.lab.up(hosts, options=options)
        made.connected(*(f"h{number}" for number in range(1, hosts + 1)))
        yield made


@contextmanager
def fresh(name: str) -> Iterator[World]:
    """Have a lab without hosts while the block runs; a failure carries what the routers had to say."""
    with temporary(name) as lab:
        made = World(lab)
        try:
            yield made
        except Exception as exc:
            exc.add_note(made.logs())
            raise


def view_of(report: Report) -> Report:
    """Return the part of a report that must be the same on every host that can reach every other."""
    return {
        "peers": sorted((row["NickName"], row["Name"], row["Reachable"]) for row in report["Router"]["Peers"]),
        "ring": [(row["Token"], row["Size"], row["Peer"]) for row in report["IPAM"]["Entries"]],
        "names": sorted((row["Hostname"], row["Address"], row["Origin"], row["Reachable"])
                        for row in report["DNS"]["Entries"]),
        "endpoints": sorted((row["MAC"], tuple(row["Addresses"]), row["ContainerID"], row["NickName"])
                            for row in report["Endpoints"]),
    }


def names_of(report: Report) -> dict[str, str]:
    """Return the first label and the address of every name that is not withheld."""
    return {row["Hostname"].partition(".")[0]: row["Address"]
            for row in report["DNS"]["Entries"] if row["Reachable"]}


def peer(report: Report, nickname: str) -> Report:
    """Return what a report says of a peer."""
    [found] = [row for row in report["Router"]["Peers"] if row["NickName"] == nickname]
    return dict(found)


def own_name(report: Report) -> str:
    """Return the peer name of the router that made the report."""
    return str(report["Router"]["Name"])
