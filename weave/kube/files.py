"""Files on the node: written whole or not at all, durable before anybody relies on them."""

import os
import tempfile
from pathlib import Path

from weave.errors import EnvironmentFailure


def write_file(path: Path, content: bytes, mode: int) -> None:
    """Put a file in its place at once; a crash leaves the old one or the new one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, unfinished = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            os.rename(unfinished, path)
        except BaseException:
            os.unlink(unfinished)
            raise
        _sync_directory(path.parent)
    except OSError as exc:
        raise EnvironmentFailure(f"cannot write {path}: {exc.strerror}; is the directory mounted, with room left?"
                                 ) from exc


def read_file(path: Path) -> bytes | None:
    """Return what a file holds, None where there is none."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise EnvironmentFailure(f"cannot read {path}: {exc.strerror}") from exc


def remove_file(path: Path) -> None:
    """Remove a file that may be gone already."""
    try:
        path.unlink(missing_ok=True)
    except OSError as exc:
        raise EnvironmentFailure(f"cannot remove {path}: {exc.strerror}") from exc


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
