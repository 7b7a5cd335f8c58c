"""`weave demo`: one story on three hosts, told while it happens, on the same lab that the tests use.

Each step says what it shows and does it with the real commands; what it found is its proof. The story ends at the
first step that does not hold, and what was made is removed whatever happened.
"""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

from weave.errors import WeaveError
from weave.lab import kernel, probes
from weave.lab.lab import Lab, temporary
from weave.lab.names import PREFIX, UNDERLAY, host_name, underlay_address
from weave.lab.state import directory
from weave.mesh.reasons import Reason

LAB = "demo"
PASSWORD = "the-demo-tells-everybody"  # noqa: S105 - it is printed below
WRONG_PASSWORD = "guessed"  # noqa: S105
HOSTS = ("h1", "h2", "h3")
CONTAINERS = {"h1": ("web1", "db1"), "h2": ("web2", "db2"), "h3": ("web3", "db3")}
OPTIONS = ("--password", PASSWORD, f"--trusted-subnets={UNDERLAY}")
SETTLE_DEADLINE_S = 20.0
WEB_PORT = 80
ECHO_PORT = 7


class StepFailed(WeaveError):  # noqa: N818 - it says what happened to the step
    """A step of the story did not hold; the message says what was seen instead."""


@dataclass(slots=True)
class Step:
    """One step of the story and how it went."""

    title: str
    ok: bool = False
    seconds: float = 0.0
    found: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Story:
    """What the steps share."""

    lab: Lab
    addresses: dict[str, str] = field(default_factory=dict)
    """Address of each container, without the prefix length."""
    services: ExitStack = field(default_factory=ExitStack)
    """The servers that run in the containers while the story lasts."""

    def report(self, host: str) -> Mapping[str, object]:
        """Return the report of a host's router."""
        return probes.report(self.lab, host)


Telling = Callable[[Story], Iterator[str]]


def tell(report: Callable[[Step, bool], None]) -> list[Step]:
    """Run the story; `report` is called as each step begins (False) and ends (True). Return the steps taken."""
    steps: list[Step] = []
    with temporary(LAB) as lab, ExitStack() as services:
        story = Story(lab, services=services)
        for title, telling in (*STEPS, ("everything is removed again", _removed)):
            step = Step(title)
            steps.append(step)
            report(step, False)
            _take(step, telling, story)
            report(step, True)
            if not step.ok:
                break
    return steps


def _take(step: Step, telling: Telling, story: Story) -> None:
    began = time.monotonic()
    try:
        step.found.extend(telling(story))
        step.ok = True
    except WeaveError as exc:
        step.found.append(str(exc))
    step.seconds = round(time.monotonic() - began, 2)


def expect(holds: bool, otherwise: str) -> None:
    """Go on where something holds; raise `StepFailed` with what was seen otherwise."""
    if not holds:
        raise StepFailed(otherwise)




def _join(story: Story) -> Iterator[str]:
    story.lab.up(len(HOSTS), options=OPTIONS)
    for host in HOSTS:
        report = probes.wait_for(
            lambda host=host: story.report(host),  # type: ignore[misc]
            lambda seen: len(probes.established(seen)) == len(HOSTS) - 1,
            f"{host} did not connect to both other hosts", SETTLE_DEADLINE_S)
        router = probes.section(report, "Router")
        expect(router.get("Encryption") is True, f"{host} does not encrypt though a password is set")
        yield f"{host} is {router['Name']}, connected to {', '.join(sorted(probes.established(report)))}"


def _populate(story: Story) -> Iterator[str]:
    for host, names in CONTAINERS.items():
        for name in names:
            _run_container(story, host, name)
        yield f"{host}: " + ", ".join(f"{name} {story.addresses[name]}" for name in names)
    expect(len(set(story.addresses.values())) == len(story.addresses), "two containers have the same address")
    ranges = {probes.section(story.report(host), "IPAM")["Range"] for host in HOSTS}
    expect(len(ranges) == 1, f"the hosts do not agree on the range: {sorted(map(str, ranges))}")
    outside = [name for name, text in story.addresses.items() if ip_address(text) not in ip_network(str(*ranges))]
    expect(not outside, f"the addresses of {outside} are not in the range")


def _run_container(story: Story, host: str, name: str) -> None:
    """Make a container with a service that says its name, and wait until every host can resolve it."""
    address, *_ = story.lab.run(host, name)
    story.addresses[name] = address.partition("/")[0]
    for script, port in ((probes.SERVER, WEB_PORT), (probes.ECHO, ECHO_PORT)):
        story.services.enter_context(
            probes.background(story.lab, name, sys.executable, "-ISc", script, str(port), name))


def _by_tcp(story: Story) -> Iterator[str]:
    yield _everybody_reaches(story, story.addresses, lambda name: story.addresses[name], "address")


def _by_name(story: Story) -> Iterator[str]:
    for name, address in sorted(story.addresses.items()):
        for client in (CONTAINERS["h1"][0], CONTAINERS["h3"][1]):
            fqdn = f"{name}.weave.local."
            answer = probes.run(story.lab, client, "dig", "+short", fqdn, "A").split()
            expect(answer == [address], f"dig {fqdn} in {client} gave {answer}, not {address}")
            reverse = probes.run(story.lab, client, "dig", "+short", "-x", address).split()
            expect(reverse == [fqdn], f"dig -x {address} in {client} gave {reverse}, not {fqdn}")
            resolved = probes.words_of(
                probes.run(story.lab, client, sys.executable, "-ISc", probes.RESOLVE, name).splitlines())
            expect(resolved == {name: address}, f"getaddrinfo({name}) in {client} gave {resolved}")
    yield f"dig A, dig -x and getaddrinfo agree on {len(story.addresses)} names"
    yield _everybody_reaches(story, story.addresses, lambda name: name, "name")


def _everybody_reaches(story: Story, clients: Iterable[str], place: Callable[[str], str], by: str) -> str:
    """Connect from each client to every container and check who answered; return the tally."""
    names = sorted(story.addresses)
    for client in sorted(clients):
        places = [place(name) for name in names if name != client]
        lines = probes.run(story.lab, client, sys.executable, "-ISc", probes.CLIENT, str(WEB_PORT), *places)
        answers = probes.words_of(lines.splitlines())
        for name in names:
            if name != client:
                expect(answers.get(place(name)) == name, f"{client} to {name} by {by}: {answers.get(place(name))}")
    return f"{len(list(clients)) * (len(names) - 1)} connections by {by}, each answered by the right container"


def _on_the_wire(story: Story) -> Iterator[str]:
    here, there = CONTAINERS["h1"][0], CONTAINERS["h2"][0]
    with (probes.capture(story.lab, "h2", "eth0", "udp port 6784") as at_target,
          probes.capture(story.lab, "h3", "eth0", "udp port 6784") as at_stranger,
          probes.capture(story.lab, "h2", "vxlan-6784", "arp") as arp):
        # a fresh neighbour table makes the container ask for the address: that question must stay at home
        probes.run(story.lab, here, "ip", "neigh", "flush", "all")
        answer = probes.run(story.lab, here, sys.executable, "-ISc", probes.CLIENT, str(WEB_PORT),
                            story.addresses[there])
        expect(there in answer.split(), f"{here} did not reach {there}: {answer.strip()}")
    pair = (story.addresses[here], story.addresses[there])
    outer = [line for line in at_target.lines if "VXLAN" in line and f"{underlay_address(1)}" in line]
    carried = [line for line in at_target.lines if all(address in line for address in pair)]
    strayed = [line for line in at_stranger.lines if any(address in line for address in pair)]
    asked = [line for line in arp.lines if any(address in line for address in pair)]
    expect(bool(outer and carried), f"no VXLAN packet was seen between h1 and h2: {at_target.lines[:2]}")
    expect(not strayed, f"h3 got what was none of its business: {strayed[:1]}")
    expect(not asked, f"a question for a known address crossed the underlay: {asked[:1]}")
    yield f"{here} to {there}: {len(carried)} VXLAN packets between h1 and h2, none at h3, no ARP on the wire"


def _explained(story: Story) -> Iterator[str]:
    here, there, asker = CONTAINERS["h1"][0], CONTAINERS["h2"][0], CONTAINERS["h3"][0]
    legs = json.loads(probes.run(story.lab, "h3", "weave", "trace", here, there, "--json"))["Legs"]
    steps = [step for leg in legs for step in leg["Steps"]]
    doubtful = [step for step in steps if step["State"] != "ok"]
    expect(not doubtful, f"something is between {here} and {there}: {doubtful[:1]}")
    yield (f"{here} to {there} and back: {len(steps)} things hold in the kernels of "
           f"{' and '.join(leg['NickName'] for leg in legs)}, told on h3")
    nobody = str(max(map(ip_address, story.addresses.values()), key=int) + 1000)
    done = story.lab.execute("h3", "weave", "trace", asker, nobody)
    [found] = [line for line in done.stdout.splitlines() if "BROKEN" in line] or ["?"]
    expect(done.returncode == 1 and nobody in found, f"the trace to {nobody}, which nobody has, says {found}")
    yield f"{asker} to {nobody}: {' '.join(found.split()[2:])}"


def _survive(story: Story) -> Iterator[str]:
    here, there = CONTAINERS["h1"][0], CONTAINERS["h2"][0]
    before = _self_of(story, "h2")
    with probes.background(story.lab, here, sys.executable, "-ISc", probes.STREAM, story.addresses[there],
                           str(ECHO_PORT), "3") as stream:
        story.lab.kill("h2")
        yield "router of h2 killed with -9 while web1 and web2 talk"
        yield _everybody_reaches(story, CONTAINERS["h2"], lambda name: story.addresses[name], "address")
        probes.wait_for(lambda: story.report("h1"), lambda seen: "h2" not in probes.established(seen),
                        "h1 did not notice that the router of h2 is gone", SETTLE_DEADLINE_S)
        said, failed = stream.communicate(timeout=30)
        expect(stream.returncode == 0, f"the connection broke: {(failed.strip().splitlines() or ['?'])[-1]}")
        yield f"the open connection went on: {said.strip()} messages there and back"
    story.lab.start("h2")
    after = probes.wait_for(lambda: _self_of(story, "h2"), lambda seen: seen == before,
                            f"h2 came back as somebody else than {before}", SETTLE_DEADLINE_S)
    probes.wait_for(lambda: story.report("h2"), lambda seen: len(probes.established(seen)) == len(HOSTS) - 1,
                    "h2 did not connect again", SETTLE_DEADLINE_S)
    yield f"h2 returned as {after['name']} with the same ring and {len(before['containers'])} containers"
    story.lab.run("h2", "late")
    address = probes.run(story.lab, "h2", "weave", "dns-lookup", "late").split()
    expect(len(address) == 1 and address[0] not in story.addresses.values(), f"new container got {address}")
    story.lab.remove("late")
    yield f"and gives a new container an address nobody has: {address[0]}"


def _self_of(story: Story, host: str) -> dict[str, Any]:
    """Return what must survive a restart: name, ring and containers."""
    seen = story.report(host)
    name = probes.section(seen, "Router")["Name"]
    ring = [(row["Token"], row["Peer"]) for row in probes.rows(probes.section(seen, "IPAM"), "Entries")]
    containers = [(row["MAC"], row["Addresses"], row["ContainerID"])
                  for row in probes.rows(seen, "Endpoints") if row.get("Local")]
    return {"name": name, "ring": ring, "containers": containers}


def _newcomer(story: Story) -> Iterator[str]:
    story.lab.up(len(HOSTS) + 1, options=OPTIONS)
    host = host_name(len(HOSTS) + 1)
    _run_container(story, host, "web4")
    owners = {row["Nickname"]: row["IPs"] for row in probes.rows(probes.section(story.report(host), "IPAM"), "Owners")}
    expect(bool(owners.get(host)), f"{host} got no address space: {owners}")
    yield f"{host} joined, was given {owners[host]} addresses and runs web4 at {story.addresses['web4']}"
    probes.wait_for(lambda: probes.run(story.lab, "web1", "dig", "+short", "web4.weave.local.").split(),
                    lambda seen: seen == [story.addresses["web4"]], "web4 is not known to web1", SETTLE_DEADLINE_S)
    yield _everybody_reaches(story, story.addresses, lambda name: story.addresses[name], "address")


def _stranger(story: Story) -> Iterator[str]:
    host, number = host_name(len(HOSTS) + 2), len(HOSTS) + 2
    story.lab.up(number, options=("--password", WRONG_PASSWORD, "--no-dns"))
    there = probes.wait_for(lambda: _refusals(story, host, str(underlay_address(1))), bool,
                            f"{host} shows no reason for being refused", SETTLE_DEADLINE_S)
    here = probes.wait_for(lambda: _refusals(story, "h1", str(underlay_address(number))), bool,
                           f"h1 shows no reason for refusing {host}", SETTLE_DEADLINE_S)
    reason = Reason.WRONG_PASSWORD.sentence
    expect(all(reason in info for info in (*here, *there)), f"the ends tell different stories: {here} and {there}")
    expect(host not in probes.established(story.report("h1")), f"{host} got in with a wrong password")
    story.lab.kill(host)
    yield f"{host} was refused; both ends say: {reason}"


def _refusals(story: Story, host: str, other: str) -> list[str]:
    """Return why connections between a host and an underlay address failed, as the host tells it."""
    connections = probes.rows(probes.section(story.report(host), "Router"), "Connections")
    return [str(row["Info"]) for row in connections
            if str(row["Address"]).startswith(other) and row.get("State") in ("failed", "retrying", "refused")]


def _removed(story: Story) -> Iterator[str]:
    story.lab.down()
    left = kernel.namespaces(f"{PREFIX}{story.lab.name}-h")
    expect(not left, f"namespaces are left: {left}")
    home = directory(story.lab.name)
    expect(not home.exists(), f"{home} is left")
    yield "no namespace, process or file is left"


STEPS: tuple[tuple[str, Telling], ...] = (
    ("three hosts join with a password", _join),
    ("two containers on each, every address unique and from one range", _populate),
    ("every container reaches every other", _by_tcp),
    ("by name as well", _by_name),
    ("the wire shows VXLAN, and no flooding for known addresses", _on_the_wire),
    ("the way of a packet is explained", _explained),
    ("a router dies and returns; its containers do not notice", _survive),
    ("a fourth host joins later and gets space", _newcomer),
    ("a wrong password is refused, with the same reason on both ends", _stranger),
)
