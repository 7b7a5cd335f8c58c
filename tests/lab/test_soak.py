"""Nothing is left of containers that came and went, nor of others heard of.

`python -m tests.lab.soak` does it as often as one likes.
"""

from tests.lab.soak import soak
from tests.lab.world import LAB

pytestmark = LAB


def test_nothing_is_left_of_containers_that_came_and_went() -> None:
    soak(cycles=40, endpoints=1000)
