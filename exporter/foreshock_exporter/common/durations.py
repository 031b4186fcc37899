"""Durations as people write them: `100ms`, `10s`, `1.5m`, `2h`, `7d`."""

from __future__ import annotations

import re

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_SECONDS = {"ms": 0.001, None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def parse_duration(text: str) -> float:
    """Seconds of a duration; a bare number is in seconds.

    Raises:
        ValueError: the text is not a duration, or is zero. Callers prepend the quoted value to the message.
    """
    match = _DURATION.fullmatch(text.strip())
    if not match or float(match[1]) == 0:
        raise ValueError("is not a valid duration; use 100ms, 10s, 5m, 2h, or 7d")
    return float(match[1]) * _SECONDS[match[2]]
