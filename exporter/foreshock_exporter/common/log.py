"""What the exporter says in its log: each problem once when it appears, and once when it is over."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

log = logging.getLogger("foreshock_exporter")

REPEAT_AFTER_SECONDS = 60.0
"""Seconds between two messages about one subject: some quote what changes all the time."""


class ProblemLog:
    """Remembers which problems have been said, so that one that lasts does not fill the log."""

    def __init__(self, logger: logging.Logger = log, timer: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._timer = timer
        self._open: dict[str, tuple[str, float]] = {}

    def problem(self, subject: str, message: str) -> None:
        """Say that something is wrong with the subject, unless that was what was said of it last.

        A message that changes is said again, once in `CHANGED_EVERY` seconds.
        """
        said, when = self._open.get(subject, ("", float("-inf")))
        if said != message and self._timer() - when >= REPEAT_AFTER_SECONDS:
            self._open[subject] = (message, self._timer())
            self._logger.warning("%s: %s", subject, message)

    def fine(self, subject: str) -> None:
        """Say that the subject has recovered, if it had a problem."""
        if self._open.pop(subject, None) is not None:
            self._logger.info("%s: works again", subject)


def configure_logging(level: str, form: str) -> None:
    """Log to standard error from this level on, one record a line, as `logfmt` or `json`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter({"logfmt": logfmt, "json": _json}[form]))
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
    """`key=value` pairs; values with spaces, quotes or control characters are quoted as JSON strings."""
    return " ".join(f"{key}={value if _plain(value) else json.dumps(value)}" for key, value in entry.items())


def _plain(value: str) -> bool:
    return bool(value) and value.isprintable() and not set(value) & set(' "=\\')


def _json(entry: dict[str, str]) -> str:
    return json.dumps(entry)
