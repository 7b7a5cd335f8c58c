from random import Random

from weave.mesh.backoff import CEILING_S, FIRST_RETRY_S, LONGEST_RETRY_S, Backoff


def test_delays_grow_and_never_pass_the_longest() -> None:
    rng, backoff = Random(1), Backoff()
    delays = [backoff.next_delay(rng) for _ in range(200)]
    assert 0.5 * FIRST_RETRY_S <= delays[0] <= 1.5 * FIRST_RETRY_S
    assert max(delays) <= LONGEST_RETRY_S
    assert 0.9 * CEILING_S < sum(delays[20:]) / len(delays[20:]) < 1.1 * CEILING_S


def test_delays_of_two_hosts_differ() -> None:
    assert Backoff().next_delay(Random(1)) != Backoff().next_delay(Random(2))


def test_reset_starts_again() -> None:
    rng, backoff = Random(1), Backoff()
    for _ in range(10):
        backoff.next_delay(rng)
    backoff.reset()
    assert backoff.next_delay(rng) <= 1.5 * FIRST_RETRY_S
