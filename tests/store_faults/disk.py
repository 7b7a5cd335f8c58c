"""A disk in memory, under the real SQLite, that loses power.

What a program writes is seen at once and durable only after a sync of its file. When the power goes, any subset of
the writes since the last sync has reached the platter, in any order of sectors, some of them torn; a name that was
made or removed since then may be there or not. Everything after the cut fails until `restore`.
"""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import apsw

SECTOR_BYTES = 512
_names = itertools.count()


class PowerCut(apsw.IOError):
    """The power is gone: whatever was asked of the disk did not happen."""


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes on their way to the platter."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Truncate:
    """A new length on its way to the platter."""

    size: int


Step: TypeAlias = Write | Truncate


@dataclass(slots=True)
class FileState:
    """A file as programs see it, as the platter has it, and what lies between; None: not there."""

    seen: bytearray
    durable: bytes | None = None
    pending: list[Step] = field(default_factory=list)

    def apply(self, step: Step) -> None:
        self.pending.append(step)
        _perform(self.seen, step)

    def sync(self) -> None:
        self.durable = bytes(self.seen)
        self.pending.clear()


class Disk(apsw.VFS):
    """The disk, as a file system of SQLite.

    `fuse` is the number of operations (of syncs, if it `waits_for_sync`) done before the one that the cut hits: just
    before that is done or, if the cut `is_late`, just after it, when the program does not yet know.
    """

    def __init__(self) -> None:
        self.name = f"simulated-{next(_names)}"
        self.files: dict[str, FileState] = {}
        self.removed: dict[str, bytes] = {}
        self.fuse: int | None = None
        self.waits_for_sync = False
        self.is_late = False
        self.is_dead = False
        self.failing_syncs = 0
        super().__init__(self.name, base="")

    def perform(self, act: Callable[[], None], *, is_sync: bool = False) -> None:
        """Do what changes the disk; raise when the power is gone."""
        is_hit = self.fuse is not None and (is_sync or not self.waits_for_sync) and self._burn()
        if self.is_dead or (is_hit and not self.is_late):
            self.is_dead = True
            raise PowerCut("power cut")
        act()
        if is_hit:
            self.is_dead = True
            raise PowerCut("power cut")

    def _burn(self) -> bool:
        """Burn the fuse by one operation; tell whether it is at its end."""
        assert self.fuse is not None
        self.fuse -= 1
        return self.fuse < 0

    def restore(self, rng: random.Random) -> None:
        """Bring the power back: each file is what the platter happens to have."""
        survivors = {name: state for name in sorted(self.files) if (state := _survivor(self.files[name], rng))}
        for name, content in sorted(self.removed.items()):
            if name not in survivors and rng.random() < 0.5:
                survivors[name] = FileState(bytearray(content), content)
        self.files, self.removed, self.fuse, self.is_dead = survivors, {}, None, False

    def sync_all(self) -> None:
        """Make everything durable, names included."""
        for state in self.files.values():
            state.sync()
        self.removed.clear()

    def excepthook(self, kind: object, error: object, traceback: object) -> bool:
        """Hear of errors that SQLite did not pass on, which are all of one kind: the power is gone."""
        return isinstance(error, apsw.IOError)

    def xOpen(  # type: ignore[override]  # apsw takes any object with these methods, its stubs only its own
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> "OpenFile":
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        if self.is_dead:
            raise PowerCut("power cut")
        if path not in self.files and not flags[0] & apsw.SQLITE_OPEN_CREATE:
            raise apsw.CantOpenError(path)
        flags[1] = flags[0]
        return OpenFile(self, self.files.setdefault(path, FileState(bytearray())))

    def xDelete(self, name: str, sync_directory: bool) -> None:
        self.perform(lambda: self._remove(name, sync_directory))

    def _remove(self, name: str, sync_directory: bool) -> None:
        state = self.files.pop(name, None)
        if state is not None and state.durable is not None and not sync_directory:
            self.removed[name] = state.durable

    def xAccess(self, name: str, flags: int) -> bool:
        return name in self.files

    def xFullPathname(self, name: str) -> str:
        return name


class OpenFile:
    """One file, open; there is one program on this machine, so locks are granted."""

    def __init__(self, disk: Disk, state: FileState) -> None:
        self._disk, self._state = disk, state

    def excepthook(self, kind: object, error: object, traceback: object) -> bool:
        """Hear of errors that SQLite did not pass on."""
        return self._disk.excepthook(kind, error, traceback)

    def xRead(self, amount: int, offset: int) -> bytes:
        if self._disk.is_dead:
            raise PowerCut("power cut")
        return bytes(self._state.seen[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:
        step = Write(offset, bytes(data))
        self._disk.perform(lambda: self._state.apply(step))

    def xTruncate(self, size: int) -> None:
        self._disk.perform(lambda: self._state.apply(Truncate(size)))

    def xSync(self, flags: int) -> None:
        if self._disk.failing_syncs:
            self._disk.failing_syncs -= 1
            self._state.pending.clear()  # as Linux does: the pages are marked clean, and nobody writes them again
            raise apsw.IOError("sync failed")
        self._disk.perform(self._state.sync, is_sync=True)

    def xFileSize(self) -> int:
        return len(self._state.seen)

    def xSectorSize(self) -> int:
        return 4096

    def xDeviceCharacteristics(self) -> int:
        return int(apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE)

    def xFileControl(self, op: int, pointer: int) -> bool:
        return False

    def xCheckReservedLock(self) -> bool:
        return False

    def xLock(self, level: int) -> None:
        pass

    def xUnlock(self, level: int) -> None:
        pass

    def xClose(self) -> None:
        pass


def _survivor(state: FileState, rng: random.Random) -> FileState | None:
    """Return the file after the cut: a subset of what was pending, some of it torn; None where it never was."""
    if state.durable is None and rng.random() < 0.5:
        return None
    content = bytearray(state.durable or b"")
    share, tearing = rng.choice([0.0, 0.2, 0.5, 0.9, 1.0]), rng.choice([0.0, 0.3])
    for step in state.pending:
        if rng.random() < share:
            _perform(content, _torn(step, rng) if rng.random() < tearing else step)
    return FileState(content, bytes(content))


def _torn(step: Step, rng: random.Random) -> Step:
    """Return what reached the platter of a write that the cut fell into: some whole sectors, from either end."""
    if isinstance(step, Truncate) or len(step.data) <= SECTOR_BYTES:
        return step
    cut = rng.randrange(SECTOR_BYTES, len(step.data), SECTOR_BYTES)
    return Write(step.offset, step.data[:cut]) if rng.random() < 0.5 else Write(step.offset + cut, step.data[cut:])


def _perform(content: bytearray, step: Step) -> None:
    if isinstance(step, Truncate):
        content[:] = content[: step.size].ljust(step.size, b"\0")
        return
    if len(content) < step.offset:
        content.extend(bytes(step.offset - len(content)))
    content[step.offset : step.offset + len(step.data)] = step.data
