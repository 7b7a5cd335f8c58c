"""Policies from a directory of YAML and JSON files, for hosts without Kubernetes.

The files are looked at again and again, and read when one changes. A file that cannot be read keeps what it said
before, and says so in the state; at the start nothing is told before every file can be read, for a policy that is left
out would open what its author wants closed.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path

import trio

from weave.errors import EnvironmentFailure
from weave.logs import fields
from weave.npc.documents import read_objects
from weave.npc.manifest_fields import ManifestError
from weave.npc.source import Change, Deliver, Identity, Object, Remove, State, Synced, Upsert

log = logging.getLogger("weave.npc")

LOOK_INTERVAL_S = 0.5
SUFFIXES = frozenset({".yaml", ".yml", ".json"})
MAX_FILES = 10_000
MAX_FILE_BYTES = 4 << 20
"""The API server takes objects of 1.5 MiB."""

Stamp = tuple[int, int, int]


@dataclass(slots=True)
class _File:
    """One file as last read."""

    stamp: Stamp
    objects: dict[Identity, Object] = field(default_factory=dict)
    problem: str = ""


@dataclass(slots=True)
class DirectorySource:
    """Tell what the manifests in a directory and below say."""

    directory: Path
    _files: dict[Path, _File] = field(default_factory=dict)
    _told: dict[Identity, Object] = field(default_factory=dict)
    _state: State | None = None
    _is_synced: bool = False

    async def run(self, deliver: Deliver) -> None:
        """Tell everything, then every change; never returns."""
        while True:
            changes = self.look()
            if changes:
                deliver(changes)
            await trio.sleep(LOOK_INTERVAL_S)

    def look(self) -> list[Change]:
        """Return what changed since the last look."""
        try:
            found = self._read_all()
        except EnvironmentFailure as exc:
            return self._say(State(is_well=False, sentence=str(exc)))
        unread = tuple((Identity("file", "", str(path.relative_to(self.directory))), file.problem)
                       for path, file in sorted(self._files.items()) if file.problem)
        broken = "; ".join(f"{identity.name}: {problem}" for identity, problem in unread)
        if broken and not self._is_synced:
            return self._say(State(is_well=False, sentence=f"no policy is enforced before {broken}", unread=unread))
        changes: list[Change] = [Upsert(identity, value) for identity, value in found.items()
                                 if self._told.get(identity) != value]
        changes += [Remove(identity) for identity in self._told if identity not in found]
        self._told = found
        if not self._is_synced:
            self._is_synced = True
            changes.append(Synced())
        well = State(is_well=True, sentence=f"{len(found)} objects in {len(self._files)} files of {self.directory}")
        return changes + self._say(State(is_well=False, sentence=broken, unread=unread) if broken else well)

    def _say(self, state: State) -> list[Change]:
        if state == self._state:
            return []
        self._state = state
        log.log(logging.INFO if state.is_well else logging.WARNING, "policy directory",
                extra=fields(state=state.sentence))
        return [state]

    def _read_all(self) -> dict[Identity, Object]:
        """Read what changed, and return every object; of two that are called the same the later file's counts."""
        stamps = self._stamps()
        for gone in self._files.keys() - stamps.keys():
            del self._files[gone]
        for path, stamp in stamps.items():
            known = self._files.get(path)
            if known is None or known.stamp != stamp:
                self._files[path] = _read(path, stamp, known)
        return {identity: value for path in sorted(self._files)
                for identity, value in self._files[path].objects.items()}

    def _stamps(self) -> dict[Path, Stamp]:
        try:
            if not self.directory.is_dir():
                raise EnvironmentFailure(f"{self.directory} is no directory; make it, or say another --policy-dir")
            found: dict[Path, Stamp] = {}
            for path in self.directory.rglob("*"):
                if path.suffix in SUFFIXES and path.is_file():
                    status = path.stat()
                    found[path] = (status.st_mtime_ns, status.st_size, status.st_ino)
                if len(found) > MAX_FILES:
                    raise EnvironmentFailure(f"{self.directory} has more than {MAX_FILES} files")
        except OSError as exc:
            raise EnvironmentFailure(f"cannot read {exc.filename}: {exc.strerror}") from exc
        return found


def _read(path: Path, stamp: Stamp, known: _File | None) -> _File:
    before = {} if known is None else known.objects
    if stamp[1] > MAX_FILE_BYTES:
        return _File(stamp, before, f"it is larger than {MAX_FILE_BYTES} bytes")
    try:
        return _File(stamp, read_objects(path.read_bytes(), is_json=path.suffix == ".json"))
    except OSError as exc:
        return _File(stamp, before, exc.strerror or str(exc))
    except ManifestError as exc:
        return _File(stamp, before, str(exc))
