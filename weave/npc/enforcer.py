"""Keep the kernel as the last ruleset says, and put it back where somebody else changed it.

What we last loaded is remembered; the next ruleset is loaded as the difference to it, elements alone by netlink. After
any failure, and after any change that was not ours, the tables are loaded as a whole, which replaces whatever is there
in one transaction: at no moment is a packet judged by half of it.
"""

import logging
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import trio

from weave.errors import EnvironmentFailure
from weave.logs import fields
from weave.npc import nft
from weave.npc.kernel import Kernel, States, Watch
from weave.npc.nft_text import change_text, full_text
from weave.npc.ruleset import Ruleset
from weave.npc.ruleset_change import difference

log = logging.getLogger("weave.npc")

BRIDGE_SYSCTLS = ("bridge-nf-call-iptables", "bridge-nf-call-ip6tables")
LOOK_INTERVAL_S = 5.0
"""Between looks for what no notification told of."""
RESTORE_PAUSE_S = 0.2
"""Between two repairs, should somebody keep undoing them."""
KEPT_PORTS = 64
"""Of past `nft` runs whose notifications may still be on their way."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the rules depend on besides policy."""

    bridge: str = "weave"
    ports: str = "vethwe"
    """How the names of the containers' ports begin."""
    multicast: bool = True


@dataclass(slots=True)
class Figures:
    """What was done so far."""

    full_loads: int = 0
    structural_changes: int = 0
    element_changes: int = 0
    repairs: int = 0
    errors: int = 0


@dataclass(slots=True)
class Enforcer:
    """Own the tables `weave-npc` of this network namespace."""

    options: Options
    kernel: Kernel
    figures: Figures = field(default_factory=Figures)
    loaded: Ruleset | None = None
    """What the kernel has, as far as we know; None: unknown."""
    _lock: trio.Lock = field(default_factory=trio.Lock)
    _wanted: Ruleset | None = None
    _state: States | None = None
    _ports: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._ports.append(self.kernel.port)

    async def enforce(self, ruleset: Ruleset) -> None:
        """Have the kernel hold this ruleset when this returns; raise `EnvironmentFailure` where it cannot."""
        self._wanted = ruleset
        async with self._lock:
            await self._settle(ruleset)

    def is_intact(self) -> bool:
        """Tell whether the kernel has our tables as we left them."""
        return self.loaded is not None and self.kernel.tables() == self._state

    async def keep(self) -> None:
        """Restore what somebody else changes; never returns."""
        while True:
            try:
                with Watch() as watch:
                    await self._watch(watch)
            except EnvironmentFailure as exc:
                log.error("cannot look after our rules; trying again", extra=fields(reason=exc))  # noqa: TRY400
            await trio.sleep(LOOK_INTERVAL_S)

    async def _watch(self, watch: Watch) -> None:
        while True:
            heard = False
            with trio.move_on_after(LOOK_INTERVAL_S):
                await watch.foreign_change(self._ports)
                heard = True
            async with self._lock:
                prepare_bridge()
                if self._wanted is not None and (heard or not self.is_intact()):
                    await self._repair(self._wanted)
            if heard:
                await trio.sleep(RESTORE_PAUSE_S)

    async def _repair(self, wanted: Ruleset) -> None:
        log.warning("our nftables tables are not as we left them; loading them again")
        self.figures.repairs += 1
        self.loaded = None
        await self._settle(wanted)

    async def _settle(self, ruleset: Ruleset) -> None:
        try:
            if self.loaded is None or not await self._change(self.loaded, ruleset):
                await self._load(full_text(ruleset, bridge=self.options.bridge, ports=self.options.ports,
                                           multicast=self.options.multicast))
                self.figures.full_loads += 1
        except BaseException:  # also cancelled: whether it happened is unknown
            self.loaded = None
            self.figures.errors += 1
            raise
        self.loaded = ruleset
        self._state = self.kernel.tables()

    async def _change(self, old: Ruleset, new: Ruleset) -> bool:
        """Change what differs; False where the kernel is not as we thought."""
        change = difference(old, new)
        if change.empty:
            return True
        try:
            if change.structural:
                await self._load(change_text(change))
                self.figures.structural_changes += 1
            else:
                self.kernel.change(change)
                self.figures.element_changes += 1
        except EnvironmentFailure as exc:
            log.warning("a change of our nftables tables was refused; loading them as a whole",
                        extra=fields(reason=exc))
            return False
        return True

    async def _load(self, text: str) -> None:
        await nft.load(text, self._started)

    def _started(self, pid: int) -> None:
        """Know the notifications of our own `nft`: its socket has its pid as number."""
        self._ports.append(pid)
        del self._ports[1:-KEPT_PORTS]


def prepare_bridge(root: Path = Path("/proc/sys/net/bridge"), probe: Callable[[], None] | None = None) -> None:
    """Let the bridge show its packets to the rules; raise `EnvironmentFailure` where the kernel cannot."""
    if not root.is_dir():
        (probe or _load_module)()
    for name in BRIDGE_SYSCTLS:
        try:
            if (root / name).read_text().strip() != "1":
                (root / name).write_text("1")
                log.info("the bridge shows its packets to the rules now", extra=fields(sysctl=f"net.bridge.{name}"))
        except OSError as exc:
            raise EnvironmentFailure(f"cannot set net.bridge.{name}: {exc.strerror}; load the module br_netfilter and "
                                     "run as root, for without it no rule sees traffic within a host") from exc


def _load_module() -> None:
    try:
        subprocess.run(["modprobe", "br_netfilter"], check=False, capture_output=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return  # what follows says what is missing

