"""Times as people write them: `2026-11-25T10:00:00Z`, `1795600800`, `now-15m`, `now/d`."""

from __future__ import annotations

import math
import re
from datetime import datetime

from foreshock_exporter.common.durations import parse_duration

LATEST_TIME = 7_258_118_400.0
"""Unix seconds of the year 2200."""
_RELATIVE = re.compile(r"now(?:-(\d+(?:\.\d+)?(?:ms|s|m|h|d)))?(?:/([mhd]))?")
_MILLISECONDS = re.compile(r"\d{12,14}")
_UNIT_SECONDS = {"m": 60.0, "h": 3600.0, "d": 86_400.0}


def parse_time(text: str, now: float, up: bool = False) -> float:
    """Unix seconds of RFC 3339, Unix seconds or milliseconds, or Grafana's `now`, `now-15m`, `now/d`.

    Args:
        now: Unix seconds that relative times count from.
        up: `/d` rounds up to the end of the UTC day instead of down to its start.

    Raises:
        ValueError: the text is none of these. Callers prepend the quoted value to the message.
    """
    if match := _RELATIVE.fullmatch(text):
        time = now - (parse_duration(match[1]) if match[1] else 0.0)
        if unit := _UNIT_SECONDS.get(match[2] or ""):
            time = (math.ceil(time / unit) if up else math.floor(time / unit)) * unit
    elif re.fullmatch(r"\d+(\.\d+)?", text):
        time = float(text) / (1000 if _MILLISECONDS.fullmatch(text) else 1)
    else:
        try:
            parsed = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError("is not a valid time; use 2026-11-25T10:00:00Z, 1795600800, or now-15m") from None
        if parsed.tzinfo is None:
            raise ValueError("has no time zone; append Z or an offset such as +01:00")
        time = parsed.timestamp()
    if not 0 <= time <= LATEST_TIME:
        raise ValueError("is outside the years 1970 to 2200; use a time such as now-15m")
    return time
