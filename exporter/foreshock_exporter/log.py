"""What the exporter says in its log: each problem once when it appears, and once when it is over."""

from __future__ import annotations

import logging

log = logging.getLogger("foreshock_exporter")


class Notices:
    """Remembers which problems have been said, so that one that lasts does not fill the log."""

    def __init__(self, logger: logging.Logger = log) -> None:
        self._logger = logger
        self._open: dict[str, str] = {}

    def problem(self, subject: str, message: str) -> None:
        """Say that something is wrong with the subject, unless that was just what was said of it."""
        if self._open.get(subject) != message:
            self._open[subject] = message
            self._logger.warning("%s: %s", subject, message)

    def fine(self, subject: str) -> None:
        """Say that the subject has recovered, if it had a problem."""
        if self._open.pop(subject, None) is not None:
            self._logger.info("%s: works again", subject)
