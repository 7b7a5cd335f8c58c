"""Who is forgotten, and when."""

from weave.mesh.absences import Absences
from weave.mesh.limits import FORGET_AFTER_S
from weave.names import PeerName

A, B = PeerName("02:00:00:00:00:01"), PeerName("02:00:00:00:00:02")


def test_who_is_away_for_long_is_forgotten_once() -> None:
    absences = Absences()
    absences.begin([B, A], 10.0)
    assert absences.forget(10.0 + FORGET_AFTER_S - 1) == []
    assert absences.forget(10.0 + FORGET_AFTER_S) == [A, B]
    assert absences.forget(10.0 + 2 * FORGET_AFTER_S) == []


def test_who_is_back_is_not_forgotten() -> None:
    absences = Absences()
    absences.begin([A, B], 10.0)
    absences.end([A])
    assert absences.forget(10.0 + FORGET_AFTER_S) == [B]


def test_an_absence_counts_from_its_beginning() -> None:
    absences = Absences()
    absences.begin([A], 10.0)
    absences.begin([A], 500.0)
    assert absences.forget(10.0 + FORGET_AFTER_S) == [A]
