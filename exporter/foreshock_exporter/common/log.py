"""Logging: configuration, formatters, and a log of persistent problems."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

log = logging.getLogger("foreshock_exporter")

REPEAT_AFTER_SECONDS = 60.0
"""Shortest interval between two messages on one subject; some messages contain changing values."""


class ProblemLog:
    """Logs each problem once when it appears and once when it is resolved."""

    def __init__(self) -> None:
        self._reported: dict[str, tuple[str, float]] = {}

    def report(self, subject: str, message: str, *, exc_info: bool = False) -> None:
        """Log a warning on `subject`, unless it repeats the last message.

        A changed message is logged at most once per `REPEAT_AFTER_SECONDS`.
        """
        message_before, reported_at = self._reported.get(subject, ("", float("-inf")))
        if message_before != message and time.monotonic() - reported_at >= REPEAT_AFTER_SECONDS:
            self._reported[subject] = (message, time.monotonic())
            log.warning("%s: %s", subject, message, exc_info=exc_info)

    def resolve(self, subject: str, message: str = "") -> None:
        """Log that `subject` works again, if it had a problem."""
        if self._reported.pop(subject, None) is not None:
            log.info("%s", message or f"{subject}: works again")


def configure_logging(level: str, form: str) -> None:
    """Log to standard error at `level`, as `logfmt` or `json` in one line per record, or as `text`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        TextFormatter() if form == "text" else FieldFormatter(logfmt if form == "logfmt" else json_text)
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)


def escape_controls(text: str) -> str:
    """Text with all characters escaped that a terminal obeys, or that begin a new line (CWE-117, CWE-150)."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


class TextFormatter(logging.Formatter):
    """`time LEVEL logger: message` in one line; the lines of a traceback follow, indented."""

    def format(self, record: logging.LogRecord) -> str:
        lines = [f"{self.formatTime(record)} {record.levelname} {record.name}: {record.getMessage()}"]
        if record.exc_info:
            lines += (f"  {line}" for line in self.formatException(record.exc_info).split("\n"))
        return "\n".join(map(escape_controls, lines))


class FieldFormatter(logging.Formatter):
    """Time, level, logger, message, and traceback as fields of one line. `form` writes the fields."""

    def __init__(self, form: Callable[[dict[str, str]], str]) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        entry = {
            "time": when.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "msg": record.getMessage(),
        }
        if record.exc_info:
            entry["error"] = self.formatException(record.exc_info)
        return self._form(entry)


def json_text(value: object) -> str:
    """JSON without control characters: the encoder leaves DEL as it is."""
    return json.dumps(value).replace("\x7f", "\\u007f")


def logfmt(entry: dict[str, str]) -> str:
    """`key=value` pairs. Values with spaces, quotes, or control characters are JSON strings."""
    return " ".join(f"{key}={value if _plain(value) else json_text(value)}" for key, value in entry.items())


def _plain(value: str) -> bool:
    return bool(value) and value.isprintable() and not set(value) & set(' "=\\')
