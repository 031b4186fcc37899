"""Text of a connection error for pages, logs, and alerts."""

from __future__ import annotations

import re

_ERROR_NUMBER = re.compile(r"\[Errno -?\d+\] ")


def error_text(error: Exception) -> str:
    """The system's message without its error number, such as `Connection refused`; else the name of the class."""
    return _ERROR_NUMBER.sub("", str(error)) or type(error).__name__
