"""The audit log: who signed in, was refused, downloaded, or changed something."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Literal

from cachetools import TTLCache
from typing_extensions import TypedDict

from foreshock_dashboard.access.roles import Principal, Role
from foreshock_dashboard.common.log_on_change import LogOnChange

Action = Literal["sign_in", "sign_in_failed", "sign_out", "denied", "rate_limited", "download", "change"]
REPEATED: dict[Action, float] = {"sign_in": 3600.0, "sign_in_failed": 60.0, "denied": 60.0, "rate_limited": 60.0}
"""Seconds in which a repetition by the same principal from the same address is not logged."""
MAX_RECENT = 1000
MAX_TEXT = 200
"""Characters of a principal or request in an event; clients choose both."""
MAX_FILE_BYTES = 10 * 2**20
ROTATED_FILES = 5
NO_PRINCIPAL = Principal("", "")

_log = logging.getLogger(__name__)
_log.setLevel(logging.INFO)  # a higher --log-level must not drop events


class AuditEvent(TypedDict):
    """Who did what. time: Unix seconds. principal: "" if unknown. method: of authentication. status: of the answer."""

    time: float
    action: str
    principal: str
    method: str
    role: str
    address: str
    request: str
    status: int


class AuditLog:
    """Writes a JSON line per event, and keeps the newest `MAX_RECENT` for the API. Thread-safe.

    path: file that is rotated at `MAX_FILE_BYTES`; `-` for standard output; None for the hub's own log.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path | None = None, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._recent: deque[AuditEvent] = deque(maxlen=MAX_RECENT)
        self._repeated: dict[Action, TTLCache[tuple[str, ...], None]] = {
            action: TTLCache(10_000, seconds) for action, seconds in REPEATED.items()
        }
        self._handler: logging.Handler | None = None
        if path is not None:
            self._handler = logging.StreamHandler(sys.stdout) if str(path) == "-" else _PrivateFile(path)

    def recent(self) -> list[AuditEvent]:
        """The newest events, newest first."""
        with self._lock:
            return list(reversed(self._recent))

    def record_request(
        self,
        action: Action,
        scope: Mapping[str, Any],
        who: Principal = NO_PRINCIPAL,
        role: Role | None = None,
        *,
        status: int = 200,
        known: bool = True,
        details: str = "",
    ) -> None:
        """Record a request (its ASGI scope), with its details, and the status of the answer; see `record`."""
        self.record(
            action,
            principal=who.name,
            method=who.method,
            role="" if role is None else role.name.lower(),
            address=scope["client"][0] if scope.get("client") else "",
            request=f"{scope['method']} {scope['path']}{details}",
            status=status,
            known=known,
        )

    def record(
        self,
        action: Action,
        *,
        principal: str = "",
        method: str = "",
        role: str = "",
        address: str = "",
        request: str = "",
        status: int = 200,
        known: bool = True,
    ) -> None:
        """Log an event, unless it repeats a recent one (see `REPEATED`).

        known: whether the principal exists. Events of those that do not repeat each other, if from one address.
        """
        principal, request = principal[:MAX_TEXT], request[:MAX_TEXT]
        event: AuditEvent = {
            "time": round(self._now(), 3), "action": action, "principal": principal, "method": method, "role": role,
            "address": address, "request": request, "status": status,
        }  # fmt: skip
        with self._lock:
            if action in REPEATED:
                repeated, key = self._repeated[action], (principal if known else "", method, role, address)
                if key in repeated:
                    return
                repeated[key] = None
            self._recent.append(event)
            line = json.dumps(event)  # ASCII: no control character reaches a terminal
            if self._handler is None:
                _log.info("%s", line)
            else:
                self._handler.handle(logging.LogRecord(__name__, logging.INFO, "", 0, "%s", (line,), None))

    def close(self) -> None:
        """Close the file."""
        if self._handler is not None:
            with contextlib.suppress(OSError):  # what could not be written has been logged
                self._handler.close()


class _PrivateFile(RotatingFileHandler):
    """A rotated file that only its owner can read. If it cannot be written, the hub goes on and logs that once."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=MAX_FILE_BYTES, backupCount=ROTATED_FILES, encoding="ascii")
        self._failure = LogOnChange(_log, recovered="the audit log can be written again")

    def _open(self):  # type: ignore[no-untyped-def]  # noqa: ANN202 - a stream of the base class's type
        Path(self.baseFilename).touch(0o600)
        return super()._open()

    def emit(self, record: logging.LogRecord) -> None:
        self._failed = False
        super().emit(record)
        if not self._failed:
            self._failure.update("")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, ARG002 - logging's
        self._failed = True
        self._failure.update(f"{self.baseFilename}: the audit log cannot be written: {sys.exc_info()[1]}")
