"""A small cluster whose life Hypothesis decides, so that what breaks it comes back as a short story."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.sim.world import World
from tests.unit.ipam.chaos import Chaos
from tests.unit.ipam.cluster import Faults
from weave.ipam.modes import Consensus, InitMode, Observer

HOSTS = 4


class ClusterMachine(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 1000), loss=st.sampled_from((0.0, 0.2)), delay=st.sampled_from((0.01, 0.5)),
                sync=st.sampled_from((0.004, 0.3)))
    def build(self, seed: int, loss: float, delay: float, sync: float) -> None:
        inits: list[InitMode] = [*[Consensus(HOSTS - 1)] * (HOSTS - 1), Observer()]
        self.chaos = Chaos(World(seed), inits, Faults(loss=loss, delay=delay, repeat=0.2, sync=sync))
        self.chaos.cluster.start()

    @rule(seconds=st.sampled_from((0.005, 0.1, 1.0, 12.0)))
    def wait(self, seconds: float) -> None:
        self.chaos.world.run(self.chaos.world.now + seconds)

    @rule(count=st.sampled_from((1, 5)))
    def allocate(self, count: int) -> None:
        for _ in range(count):
            self.chaos.allocate()

    @rule()
    def claim(self) -> None:
        self.chaos.claim()

    @rule()
    def ask_again(self) -> None:
        self.chaos.again()

    @rule()
    def release(self) -> None:
        self.chaos.release()

    @rule()
    def crash(self) -> None:
        self.chaos.crash()

    @rule()
    def restart(self) -> None:
        self.chaos.restart()

    @rule()
    def split(self) -> None:
        self.chaos.split()

    @rule()
    def heal(self) -> None:
        self.chaos.heal()

    @precondition(lambda self: len(self.chaos.dead) < HOSTS - 2)
    @rule()
    def die(self) -> None:
        self.chaos.die()

    @precondition(lambda self: len(self.chaos.dead) < HOSTS - 2)
    @rule()
    def leave(self) -> None:
        self.chaos.leave()

    def teardown(self) -> None:
        if hasattr(self, "chaos"):
            self.chaos.settle()


TestCluster = ClusterMachine.TestCase
TestCluster.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
