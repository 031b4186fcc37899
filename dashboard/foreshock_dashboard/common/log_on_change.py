"""Logs a lasting condition once: when it begins, changes, or ends."""

from __future__ import annotations

import logging


class LogOnChange:
    """Logs a message if it differs from the previous one.

    level: level of the messages.
    recovered: text logged at INFO when the condition ends; `{}` in it stands for the last message. "" logs nothing.
    """

    def __init__(self, logger: logging.Logger, level: int = logging.WARNING, recovered: str = "") -> None:
        self._logger, self._level, self._recovered = logger, level, recovered
        self._message = ""

    def update(self, message: str) -> None:
        """Set the message; "" ends the condition."""
        previous, self._message = self._message, message
        if message == previous:
            return
        if message:
            self._logger.log(self._level, "%s", message)
        elif self._recovered:
            self._logger.info("%s", self._recovered.replace("{}", previous))
