"""The note that a node keeps of its place in the cluster, on its own disk beside the router's state."""

import json
from pathlib import Path

from weave.errors import EnvironmentFailure
from weave.kube.files import read_file, remove_file, write_file
from weave.kube.joining import Note

FILE = "kubernetes.json"
DATABASE = "weave.db"
FORMAT = 1


def load_note(state_dir: Path) -> Note | None:
    """Return the note, None where this node never joined a cluster."""
    content = read_file(state_dir / FILE)
    if content is None:
        return None
    try:
        return read_note(content)
    except ValueError as exc:
        raise EnvironmentFailure(f"{state_dir / FILE} cannot be read ({exc}); to let this node join anew, remove "
                                 f"{state_dir} with all that is in it") from exc


def read_note(content: bytes) -> Note:
    """Return the note that a file holds; raise `ValueError` where it holds none."""
    try:
        document = json.loads(content)
        if document["format"] != FORMAT:
            raise ValueError(f"it is of format {document['format']!r}")
        peer, seed, range_, birth = (document[name] for name in ("peer", "seed", "range", "birth"))
    except (KeyError, TypeError, RecursionError) as exc:
        raise ValueError("it is incomplete") from exc
    if not all(isinstance(word, str) for word in (peer, range_, birth)) or not isinstance(seed, list):
        raise ValueError("it is damaged")
    if not all(isinstance(name, str) for name in seed):
        raise ValueError("its seed is damaged")
    return Note(peer, tuple(seed), range_, birth)


def save_note(state_dir: Path, note: Note) -> None:
    """Keep a note, durably."""
    document = {"format": FORMAT, "peer": note.peer, "seed": list(note.seed), "range": note.range,
                "birth": note.birth}
    write_file(state_dir / FILE, json.dumps(document).encode(), 0o600)


def drop_note(state_dir: Path) -> None:
    """Forget our place."""
    remove_file(state_dir / FILE)


def has_state(state_dir: Path) -> bool:
    """Say whether a router left its state here."""
    return (state_dir / DATABASE).exists()
