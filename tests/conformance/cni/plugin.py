"""A CNI plugin under test: an executable, the configuration it gets, and what surrounds it.

Nothing here knows which plugin it is. A runtime's part is played by `Container`: it calls the executable with the
variables and the input of the specification, in the network namespace of a host, and keeps the result for later calls.
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from weave.lab import kernel
from weave.net.namespace import run_there

ALL_VERSIONS = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
DEADLINE_S = 60.0
PREFIX = "cniconf-"
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Said:
    """How an executable ended and what it printed."""

    status: int
    stdout: str
    stderr: str

    @property
    def value(self) -> Any:
        return json.loads(self.stdout)

    def check_success(self) -> "Said":
        assert self.status == 0, f"ended with {self.status}: {self.stdout or self.stderr}"
        return self

    def check_failure(self, code: int | None = None) -> "Said":
        """Check that it failed as the specification says: an error object on standard output."""
        assert self.status != 0, f"should have failed, but printed {self.stdout!r}"
        error = self.value
        assert isinstance(error["code"], int), error
        assert error["code"] != 0, error
        assert error["msg"], error
        if code is not None:
            assert error["code"] == code, error
        return self


@dataclass(frozen=True, slots=True)
class Plugin:
    """One executable with a configuration that works."""

    name: str
    program: Path
    configuration: Mapping[str, Any]
    """Without `cniVersion`."""
    host: str
    """Network namespace of the host it runs on."""
    held: Callable[[], int]
    """How many addresses are in use: the same again when all containers are gone."""
    versions: Sequence[str] = ALL_VERSIONS
    path: str = "/usr/lib/cni"
    environment: Mapping[str, str] = field(default_factory=dict)
    can_twice: bool = True
    """Two interfaces of one container on one network are possible."""
    down: Callable[[], AbstractContextManager[None]] | None = None
    """Have it unable to add while a block runs; None where nothing could make it so."""

    @property
    def newest(self) -> str:
        return self.versions[-1]

    @property
    def knows_gc(self) -> bool:
        return "1.1.0" in self.versions

    def conf(self, version: str, **more: Any) -> dict[str, Any]:
        return {"cniVersion": version, **self.configuration, **more}

    def call(self, environment: Mapping[str, str], stdin: str | bytes) -> Said:
        """Run the executable on its host with exactly these variables of CNI."""
        octets = stdin if isinstance(stdin, bytes) else stdin.encode()
        variables = {"PATH": os.environ.get("PATH", ""), **self.environment, **environment}
        with (kernel.NETNS_DIR / self.host).open("rb") as where:
            done = run_there(where.fileno(), lambda: subprocess.run(
                [self.program], env=variables, input=octets, capture_output=True, check=False, timeout=DEADLINE_S))
        return Said(done.returncode, done.stdout.decode(), done.stderr.decode(errors="replace"))


@dataclass(slots=True)
class Container:
    """A container of one runtime, at one interface."""

    plugin: Plugin
    version: str
    ident: str
    netns: str | None
    interface: str = "eth0"
    args: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
    result: Any = None

    def environment(self, command: str, **changes: str | None) -> dict[str, str]:
        """Return the variables of a call; None leaves one out."""
        path = None if self.netns is None else str(kernel.NETNS_DIR / self.netns)
        given = {"CNI_COMMAND": command, "CNI_CONTAINERID": self.ident, "CNI_NETNS": path,
                 "CNI_IFNAME": self.interface, "CNI_PATH": self.plugin.path, "CNI_ARGS": self.args or None, **changes}
        return {name: value for name, value in given.items() if value is not None}

    def call(self, command: str, conf: Mapping[str, Any] | None = None, **changes: str | None) -> Said:
        stdin = json.dumps(self.plugin.conf(self.version, **self.extra) if conf is None else conf)
        return self.plugin.call(self.environment(command, **changes), stdin)

    def add(self) -> Any:
        """Have the container added; keep and return the result."""
        self.result = self.call("ADD").check_success().value
        return self.result

    def later(self, command: str, **changes: str | None) -> Said:
        """Call with the result of ADD, as a runtime does from 0.4.0 on."""
        previous = {} if self.result is None else {"prevResult": self.result}
        return self.call(command, {**self.plugin.conf(self.version, **self.extra), **previous}, **changes)

    def delete(self) -> Said:
        return self.later("DEL")

    def ip(self, *words: str) -> str:
        assert self.netns is not None
        return kernel.run("ip", "-n", self.netns, *words)

    def has_interface(self) -> bool:
        assert self.netns is not None
        return self.interface in kernel.device_names(self.netns)

    def addresses(self) -> list[str]:
        """Return the addresses inside, with prefix length."""
        [link] = json.loads(self.ip("-j", "address", "show", "dev", self.interface))
        return [f"{item['local']}/{item['prefixlen']}" for item in link["addr_info"] if item["scope"] == "global"]


@contextmanager
def container(plugin: Plugin, version: str, **more: Any) -> Iterator[Container]:
    """Give a container in a fresh namespace; it is deleted afterwards whatever became of it."""
    netns = f"{PREFIX}{os.getpid()}-{next(_numbers)}"
    kernel.add_namespace(netns)
    made = Container(plugin, version, netns, netns, **more)
    try:
        yield made
    finally:
        made.call("DEL", CNI_NETNS=None)
        if netns in kernel.namespaces(netns):
            kernel.delete_namespace(netns)


@contextmanager
def nothing_leaks(plugin: Plugin) -> Iterator[None]:
    """Check that as many addresses are in use after a block as before it."""
    before = plugin.held()
    yield
    assert plugin.held() == before, "addresses are still held"


def sweep_namespaces() -> None:
    """Remove what a crashed run left."""
    for name in kernel.namespaces(PREFIX):
        owner = name.removeprefix(PREFIX).partition("-")[0]
        if not Path(f"/proc/{owner}").exists():
            kernel.delete_namespace(name)

