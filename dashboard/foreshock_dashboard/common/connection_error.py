"""Why a server could not be reached, in words: for a page, a log and whoever is on call."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"\[Errno -?\d+\] ")


def error_text(error: Exception) -> str:
    """What the system says, without its number of it: `Connection refused`."""
    return _NUMBER.sub("", str(error)) or type(error).__name__
