"""Log lines: one event a line, `key=value` for people or JSON for programs, on standard error.

A line is written as `log.info("connection up", extra=fields(peer=..., address=...))`; the message says what happened,
the fields say to whom. `RateLimit` keeps what can repeat from flooding the log: it lets a burst through, then counts.
"""

import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

_FIELDS = "weave_fields"


def fields(**values: object) -> dict[str, Mapping[str, object]]:
    """Return the `extra` of a log call that carries these fields."""
    return {_FIELDS: values}


class TextFormatter(logging.Formatter):
    """One line of time, level, part, message and key=value fields; values with blanks are quoted."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of one record."""
        values: Mapping[str, object] = getattr(record, _FIELDS, {})
        pairs = "".join(f" {key}={_quoted(value)}" for key, value in values.items())
        line = f"{self.formatTime(record)} {record.levelname:<7} {record.name}: {record.getMessage()}{pairs}"
        return line + ("\n" + self.formatException(record.exc_info) if record.exc_info else "")


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of one record."""
        values: Mapping[str, object] = getattr(record, _FIELDS, {})
        event = {"time": self.formatTime(record), "level": record.levelname.lower(), "part": record.name,
                 "event": record.getMessage(), **{key: str(value) for key, value in values.items()}}
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return json.dumps(event)


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text) if not text or not text.isprintable() or any(c in ' "=' for c in text) else text


def configure(level: str, layout: str) -> None:
    """Send everything at `level` and above to standard error in this layout (text or json)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if layout == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("hypercorn", "httpx2", "httpcore2"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


@dataclass(slots=True)
class RateLimit:
    """Let `burst` events of one kind through per `interval_s`, and tell how many were held back since."""

    burst: int = 5
    interval_s: float = 10.0
    max_kinds: int = 1024
    """Kinds told apart at one time, for strangers may be the ones who make them up; beyond it all others are one."""
    _windows: dict[str, tuple[float, int]] = field(default_factory=dict)

    def admit(self, kind: str, now: float) -> int | None:
        """Return None when this event is to be held back, else the number held back in the window before."""
        if kind not in self._windows and len(self._windows) >= self.max_kinds:
            self._windows = {known: window for known, window in self._windows.items()
                             if now - window[0] < self.interval_s}
            kind = kind if len(self._windows) < self.max_kinds else ""
        started, count = self._windows.get(kind, (now, 0))
        if now - started >= self.interval_s:
            self._windows[kind] = (now, 1)
            return max(0, count - self.burst)
        self._windows[kind] = (started, count + 1)
        return 0 if count < self.burst else None
