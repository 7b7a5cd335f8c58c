"""Split a stream of octets into lines, bounded: a watch sends one JSON object a line."""

from dataclasses import dataclass, field

from weave.errors import RemoteError


@dataclass(slots=True)
class LineSplitter:
    """Take octets as they come, give complete lines; a line beyond the limit is a `RemoteError`."""

    limit: int
    _pending: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that are complete now, without their ends and without empty ones."""
        if b"\n" not in data:
            self._keep(data)
            return []
        first, *others = data.split(b"\n")
        self._keep(first)
        lines = [bytes(self._pending), *others[:-1]]
        self._pending.clear()
        if any(len(line) > self.limit for line in lines):
            raise RemoteError(f"a line is longer than {self.limit} octets")
        self._keep(others[-1])
        return [line for line in lines if line.strip()]

    def _keep(self, data: bytes) -> None:
        if len(self._pending) + len(data) > self.limit:
            raise RemoteError(f"a line is longer than {self.limit} octets")
        self._pending += data
