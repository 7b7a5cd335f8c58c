"""Whatever happens, in whatever order: the planner's invariants hold."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.mesh_planner.peers import address, known, name
from weave.mesh.planner import Planner, PlannerConfig

PARALLEL = 3
LIMIT = 6
numbers = st.integers(2, 45)
events = st.one_of(
    st.tuples(st.just("known"), st.sets(numbers)),
    st.tuples(st.sampled_from(["add", "forget", "replace"]), st.sets(numbers, max_size=4)),
    st.tuples(st.sampled_from(["answer", "refuse", "never", "inbound", "close", "wrong peer"]), numbers),
    st.tuples(st.just("wait"), st.floats(0.0, 100.0)),
)


class Driver:
    """Feeds events to a planner and checks every step."""

    def __init__(self, discovery: bool) -> None:
        config = PlannerConfig(discovery=discovery, parallel_dials=PARALLEL, connection_limit=LIMIT)
        self.planner = Planner(me=name(20), rng=Random(1), config=config)
        self.now = 0.0
        self.conn = 0
        self.flying: list[str] = []
        self.live: list[int] = []
        self.user: set[str] = set()

    def feed(self, kind: str, what: object) -> None:
        match what:
            case float():
                self.now += what
            case set() if kind == "known":
                self.planner.peers_known(known(*what), self.now)
            case set():
                self.ask(kind, [address(number) for number in sorted(what)])
            case int():
                self.answer(kind, what)

    def ask(self, kind: str, addresses: list[str]) -> None:
        if kind == "forget":
            self.planner.forget(addresses, self.now)
            self.user -= set(addresses)
            return
        self.planner.add_targets(addresses, self.now, replace=kind == "replace")
        self.user = set(addresses) | (self.user if kind == "add" else set())

    def answer(self, kind: str, number: int) -> None:
        self.conn += 1
        if kind == "close":
            if self.live:
                self.planner.disconnected(self.live.pop(number % len(self.live)), "closed", self.now)
        elif kind == "inbound":
            self.live.append(self.conn)
            self.planner.connected(self.conn, name(number), address(number) + "1", False, None, self.now)
        elif self.flying:
            self.end_dial(kind, self.flying.pop(number % len(self.flying)), number)

    def end_dial(self, kind: str, target: str, number: int) -> None:
        if kind in ("refuse", "never"):
            self.planner.failed(target, kind, kind == "refuse", self.now)
            return
        who = number if kind == "wrong peer" else int(target.split(":")[0].rsplit(".", maxsplit=1)[1])
        self.live.append(self.conn)
        self.planner.connected(self.conn, name(who), target, True, target, self.now)

    def check(self, discovery: bool) -> None:
        step = self.planner.plan(self.now)
        assert self.planner.deadline() > self.now
        assert len(step.dial) == len(set(step.dial)) <= PARALLEL
        assert discovery or set(step.dial) <= self.user
        assert len(set(step.dial) - self.user) <= max(0, LIMIT - len(self.live))
        assert set(step.close) <= set(self.live)
        assert not step.close or discovery
        assert {view.address for view in self.planner.targets() if view.user} == self.user
        self.flying += step.dial
        self.live = [conn for conn in self.live if conn not in step.close]
        for conn in step.close:
            self.planner.disconnected(conn, "surplus", self.now)
            self.planner.plan(self.now)


@settings(max_examples=150, deadline=None)
@given(history=st.lists(events, max_size=60), discovery=st.booleans())
def test_invariants_hold_in_every_history(history: list[tuple[str, object]], discovery: bool) -> None:
    driver = Driver(discovery)
    for kind, what in history:
        driver.feed(kind, what)
        driver.check(discovery)
