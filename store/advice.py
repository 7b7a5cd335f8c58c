"""Which file it is about, and the sentences that tell an operator what to do with it.

One place makes every refusal, so that all of them name the file, the damage, the way out and its price.
"""

from dataclasses import dataclass
from shlex import quote

from store.errors import StoreCorrupt, StoreFailed, StoreForeign, StoreLocked, StoreTooNew

UNNAMED_CONTENTS = "everything this program remembered"


@dataclass(frozen=True, slots=True)
class DatabaseFile:
    """A database file: its `path`, and in words what is lost with it."""

    path: str
    contents: str = UNNAMED_CONTENTS

    @property
    def wal(self) -> str:
        """Name the write-ahead log that belongs to the file."""
        return self.path + "-wal"

    def corrupt(self, damage: str) -> StoreCorrupt:
        """Make the refusal of a damaged file: what is wrong, how to move it aside, what is lost by doing so."""
        return StoreCorrupt(f"The database {self.path} is damaged: {damage}", self._move_aside())

    def orphaned_log(self) -> StoreCorrupt:
        """Make the refusal to start afresh beside the log of a database that is gone."""
        return StoreCorrupt(
            f"The database {self.path} is missing, but its log {self.wal} is there",
            f"Put the database back, or lose {self.contents}: mv {quote(self.wal)} {quote(self.wal + '.broken')}",
        )

    def foreign(self, application_id: int) -> StoreForeign:
        """Make the refusal of a database that another program made."""
        return StoreForeign(
            f"The database {self.path} belongs to another program (application id {application_id:#x})",
            "Choose another state directory, or move that file away",
        )

    def too_new(self, found: int, known: int) -> StoreTooNew:
        """Make the refusal of a schema from the future."""
        return StoreTooNew(
            f"The database {self.path} has format {found}, and this version knows up to {known}",
            "Start the version that wrote it, or a newer one; the file was left as it is",
        )

    def locked(self, holder: str) -> StoreLocked:
        """Make the refusal of a file that somebody else owns."""
        return StoreLocked(
            f"The database {self.path} is in use by {holder}",
            "Stop that process first, or choose another state directory",
        )

    def failed(self, reason: str) -> StoreFailed:
        """Make the refusal after the disk or the file system failed."""
        return StoreFailed(
            f"The database {self.path} cannot be written or read: {reason}",
            "Check that its disk has space, works, and is writable, then start again;"
            " what was acknowledged before is safe",
        )

    def _move_aside(self) -> str:
        moves = [f"mv {quote(name)} {quote(name + '.broken')}" for name in (self.path, self.wal)]
        return (
            f"Restore both {self.path} and {self.wal} from one backup, or start empty by moving them aside:"
            f" {moves[0]}; {moves[1]} (the second may not exist). Starting empty loses {self.contents}"
        )
