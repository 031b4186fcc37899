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

    def __init__(self, logger: logging.Logger = log, timer: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._timer = timer
        self._reported: dict[str, tuple[str, float]] = {}

    def report(self, subject: str, message: str, *, exc_info: bool = False) -> None:
        """Log a warning on `subject`, unless it repeats the last message.

        A changed message is logged at most once per `REPEAT_AFTER_SECONDS`.
        """
        message_before, reported_at = self._reported.get(subject, ("", float("-inf")))
        if message_before != message and self._timer() - reported_at >= REPEAT_AFTER_SECONDS:
            self._reported[subject] = (message, self._timer())
            self._logger.warning("%s: %s", subject, message, exc_info=exc_info)

    def resolve(self, subject: str, message: str = "") -> None:
        """Log that `subject` works again, if it had a problem."""
        if self._reported.pop(subject, None) is not None:
            self._logger.info("%s", message or f"{subject}: works again")


def configure_logging(level: str, form: str) -> None:
    """Log to standard error at `level`, one record per line, as `logfmt` or `json`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(logfmt if form == "logfmt" else json.dumps))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)


class _Formatter(logging.Formatter):
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


def logfmt(entry: dict[str, str]) -> str:
    """`key=value` pairs. Values with spaces, quotes, or control characters are JSON strings."""
    return " ".join(f"{key}={value if _plain(value) else json.dumps(value)}" for key, value in entry.items())


def _plain(value: str) -> bool:
    return bool(value) and value.isprintable() and not set(value) & set(' "=\\')
