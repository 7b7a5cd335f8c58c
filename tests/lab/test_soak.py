"""Nothing is left of containers that came and went, nor of others heard of; `tests.lab.soak` does it for longer."""

from tests.lab.soak import soak
from tests.lab.world import LAB

pytestmark = LAB


def test_nothing_is_left_of_containers_that_came_and_went() -> None:
    soak(cycles=200, endpoints=1000)
