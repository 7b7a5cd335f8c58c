"""Random lives of a small cluster: everything that may happen to one, in an order that a seed decides.

The invariants are checked by the cluster after every event; at the end everything is healed, and all must agree, what
dead hosts owned must be usable again, and whoever asks must get an address.
"""

import sys
from collections.abc import Sequence

from tests.sim.world import InvariantBroken, World
from tests.unit.ipam.cluster import Cluster, Faults, Host, Snapshot
from weave.addresses import IPInterface
from weave.ipam.modes import Consensus, InitMode, Observer

SETTLE_S = 40.0
"""Heals, rests and rounds of asking are over after this."""
STEP_S = 1.5


class Chaos:
    def __init__(self, world: World, inits: Sequence[InitMode], faults: Faults) -> None:
        self.world = world
        self.rng = world.rng("chaos")
        self.cluster = Cluster(world, inits, faults=faults)
        self.faults = faults
        self.serial = 0
        self.idents: list[tuple[int, str]] = []
        self.down: set[int] = set()
        self.dead: set[int] = set()
        self.copies: dict[int, Snapshot] = {}

    @property
    def up(self) -> list[int]:
        numbers = range(1, len(self.cluster.hosts) + 1)
        return [number for number in numbers if number not in self.down | self.dead]

    def run(self, steps: int) -> None:
        self.cluster.start()
        for _ in range(steps):
            act = self.rng.choice(ACTS)
            self.world.note("act", act.__name__, sorted(self.down), sorted(self.dead))
            act(self)
            self.world.run(self.world.now + self.rng.uniform(0, STEP_S))
        self.settle()

    # --- what may happen -------------------------------------------------------------------------------------------

    def allocate(self) -> None:
        if self.up:
            number = self.rng.choice(self.up)
            for _ in range(self.rng.choice((1, 1, 3, 20))):
                self.serial += 1
                self.idents.append((number, f"c{self.serial}"))
                self.cluster.allocate(number, f"c{self.serial}")

    def again(self) -> None:
        """Ask for what is held already, or waits."""
        alive = [(number, ident) for number, ident in self.idents if number in self.up]
        if alive:
            self.cluster.allocate(*self.rng.choice(alive))

    def claim(self) -> None:
        if self.up:
            number, self.serial = self.rng.choice(self.up), self.serial + 1
            self.idents.append((number, f"k{self.serial}"))
            self.cluster.claim(number, f"k{self.serial}", f"10.32.0.{self.rng.randrange(256)}/24")

    def release(self) -> None:
        alive = [(number, ident) for number, ident in self.idents if number in self.up]
        for number, ident in self.rng.sample(alive, min(len(alive), self.rng.choice((1, 5)))):
            self.idents.remove((number, ident))
            self.cluster.release(number, ident)

    def crash(self) -> None:
        if self.up:
            number = self.rng.choice(self.up)
            self.down.add(number)
            self.cluster.crash(number)

    def crash_busy(self) -> None:
        """A host crashes while it works."""
        self.allocate()
        self.world.run(self.world.now + self.rng.choice((0.0, 0.001, 0.02)))
        self.crash()

    def restart(self) -> None:
        if self.down:
            number = self.rng.choice(sorted(self.down))
            self.down.discard(number)
            self.cluster.start(number)

    def split(self) -> None:
        numbers = list(range(1, len(self.cluster.hosts) + 1))
        self.rng.shuffle(numbers)
        cut = self.rng.randrange(1, len(numbers))
        self.cluster.split(numbers[:cut], numbers[cut:])

    def heal(self) -> None:
        self.cluster.heal()

    def die(self) -> None:
        """A host burns down; the others take what it had, more than one of them at once.

        The network holds until they have agreed: two takeovers on two sides of a partition are beyond any protocol.
        """
        if len(self.up) < 3 or not self.has_ring():
            return
        number = self.rng.choice(self.up)
        self.cluster.heal()
        for other in sorted(self.down):
            self.down.discard(other)
            self.cluster.start(other)
        self.world.run(self.world.now + 3)
        self.kill(number)
        self.world.run(self.world.now + 3)  # the others notice
        for taker in self.rng.sample(self.up, min(2, len(self.up))):
            self.cluster.takeover(taker, number)
        self.world.run(self.world.now + 4)

    def kill(self, number: int) -> None:
        self.dead.add(number)
        self.cluster.crash(number)
        self.cluster[number].is_dead = True
        self.idents = [(owner, ident) for owner, ident in self.idents if owner != number]

    def leave(self) -> None:
        """A host is removed in an orderly way; nothing else goes wrong meanwhile."""
        if len(self.up) < 3 or not self.has_ring():
            return
        self.cluster.heal()
        self.world.run(self.world.now + 1)
        number = self.rng.choice(self.up)
        for owner, ident in [pair for pair in self.idents if pair[0] == number]:
            self.idents.remove((owner, ident))
            self.cluster.release(owner, ident)
        request = self.cluster.surrender(number)
        self.world.run(self.world.now + 4)
        if request not in self.cluster.outcomes:
            raise InvariantBroken(f"the surrender of {number} has no end")
        self.kill(number)

    def copy(self) -> None:
        """Somebody makes a copy of a database."""
        if self.up:
            number = self.rng.choice(self.up)
            self.copies[number] = self.cluster.snapshot(number)

    def roll_back(self) -> None:
        """A host comes back with an old copy of its database, while the others are well."""
        copied = [number for number in self.up if number in self.copies]
        if not copied or not self.has_ring():
            return
        number = self.rng.choice(copied)
        self.cluster.heal()
        for other in sorted(self.down):
            self.down.discard(other)
            self.cluster.start(other)
        loss, self.faults.loss = self.faults.loss, 0.0
        self.world.run(self.world.now + SETTLE_S)
        self.cluster.crash(number)
        self.cluster.restore(number, self.copies[number])
        self.idents = [(owner, ident) for owner, ident in self.idents if owner != number]
        self.world.run(self.world.now + 1)
        self.cluster.start(number)
        self.serial += 1
        self.idents.append((number, f"r{self.serial}"))
        self.cluster.allocate(number, f"r{self.serial}")
        self.world.run(self.world.now + 5)
        self.faults.loss = loss

    def has_ring(self) -> bool:
        return any(host.core is not None and host.core.estate is not None for host in self.cluster.alive())

    # --- the end -----------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """End all faults, and see that everything comes to rest as it must."""
        self.faults.loss = self.faults.repeat = 0.0
        for number in sorted(self.down):
            self.cluster.start(number)
        self.down.clear()
        self.cluster.heal()
        self.world.run(self.world.now + SETTLE_S)
        if not self.has_ring():
            self.cluster.prime(self.up[0])
            self.world.run(self.world.now + SETTLE_S)
        self.cluster.check_converged()
        self.recover_dead()
        self.check_ident_complete()
        self.exhaust()

    def recover_dead(self) -> None:
        for number in sorted(self.dead):
            self.cluster.takeover(self.up[0], number)
            self.world.run(self.world.now + 3)
        self.world.run(self.world.now + SETTLE_S)
        self.cluster.check_converged()
        owners = {segment.range.owner for segment in self.estates()[0].ring.segments()}
        if owners & {host.name for number, host in self.numbered() if number in self.dead}:
            raise InvariantBroken(f"the dead own something: {owners}")

    def check_ident_complete(self) -> None:
        """Nothing is in use that nobody asked for or that was released."""
        for number, host in self.numbered():
            if host.core is not None and not host.is_excused:
                wanted = {ident for owner, ident in self.idents if owner == number}
                extra = set(host.core.owned()) - wanted - host.unsure
                if extra:
                    raise InvariantBroken(f"{host.name} keeps {extra}")

    def exhaust(self) -> None:
        """Every address that a host may have can be had, from anywhere."""
        taker = self.up[-1]
        for _ in range(256):
            self.serial += 1
            self.cluster.allocate(taker, f"e{self.serial}")
        self.world.run(self.world.now + 3 * SETTLE_S)
        used: list[IPInterface] = [
            address for host in self.cluster.alive() if host.core is not None
            for addresses in host.core.owned().values() for address in addresses
            if int(address.ip) in host.core.space.owned]  # an old database may list what moved on, as a conflict
        usable = {address.ip for address in used} - {self.cluster.network[0], self.cluster.network[-1]}
        if len(usable) != 254 or len(used) != len({address.ip for address in used}):
            missing = set(self.cluster.network.hosts()) - usable
            raise InvariantBroken(f"{len(usable)} addresses of 254 are in use; missing: {sorted(missing)[:9]}")
        self.cluster.check_converged()

    def estates(self) -> list:  # type: ignore[type-arg]
        return [host.core.estate for host in self.cluster.alive() if host.core is not None]

    def numbered(self) -> list[tuple[int, Host]]:
        return list(enumerate(self.cluster.hosts.values(), start=1))


ACTS = (
    *[Chaos.allocate] * 6, *[Chaos.again] * 2, *[Chaos.claim] * 3, *[Chaos.release] * 3, *[Chaos.crash] * 2,
    Chaos.crash_busy,     *[Chaos.restart] * 5, *[Chaos.split] * 2, *[Chaos.heal] * 3, Chaos.die, Chaos.leave,
    *[Chaos.copy] * 2, Chaos.roll_back,
)


def live(seed: int, *, hosts: int = 5, steps: int = 40, lateness: int = 1) -> World:
    """Let a cluster live; raise where it does what it must not."""
    world = World(seed)
    rng = world.rng("setup")
    faults = Faults(loss=rng.choice((0.0, 0.1, 0.3)), delay=rng.choice((0.01, 0.2, 1.0)),
                    repeat=rng.choice((0.0, 0.3)), sync=rng.choice((0.004, 0.5)))
    electors = hosts - lateness
    inits: list[InitMode] = [*[Consensus(electors)] * electors, *[Observer()] * lateness]
    Chaos(world, inits, faults).run(steps)
    return world


def main() -> None:
    """Try many lives and print what went wrong."""
    first, last = map(int, sys.argv[1:3])
    for seed in range(first, last):
        try:
            live(seed, hosts=3 + seed % 5, lateness=seed % 3, steps=40)
        except AssertionError as exc:
            print(f"seed {seed}: {type(exc).__name__}: {exc}")


if __name__ == "__main__":
    main()
