"""The ways in which a store refuses, each with what an operator can do about it.

Every error is one sentence of what is wrong, on which file, and one of advice. Whoever opens a store needs to know
only `StoreError`; the children are there for those that can do more than show it.
"""


class StoreError(Exception):
    """Base of every error of the store: the `problem`, and the operator's next step (`advice`)."""

    def __init__(self, problem: str, advice: str) -> None:
        super().__init__(problem, advice)
        self.problem = problem
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.problem}. {self.advice}"


class StoreCorrupt(StoreError):  # noqa: N818 - the child says what the store is
    """The file is damaged: nothing in it may be trusted, so nothing of it is used."""


class StoreForeign(StoreError):  # noqa: N818
    """The file is a database of another program, and is left as it is."""


class StoreTooNew(StoreError):  # noqa: N818
    """The file was written by a newer version of this program, and is left as it is."""


class StoreLocked(StoreError):  # noqa: N818
    """Another process owns the file at this moment."""


class StoreFailed(StoreError):  # noqa: N818
    """The disk or the file system failed us; after a failed commit nothing more is acknowledged."""


class ChangeRefused(StoreError):  # noqa: N818
    """One change set is out of bounds: nothing of it was written, and the store goes on."""
