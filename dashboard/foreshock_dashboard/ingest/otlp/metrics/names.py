"""Names of metrics and labels in Prometheus for those of OpenTelemetry.

Source: "Prometheus and OpenMetrics Compatibility" of OpenTelemetry, and Prometheus' translation strategy
`UnderscoreEscapingWithSuffixes` (github.com/prometheus/otlptranslator).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

UNITS: Mapping[str, str] = MappingProxyType(
    {
        "d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds", "us": "microseconds",
        "ns": "nanoseconds", "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes",
        "TiBy": "tibibytes", "KBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes", "TBy": "terabytes",
        "m": "meters", "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams", "Cel": "celsius",
        "Hz": "hertz", "1": "", "%": "percent",
    }
)  # fmt: skip
"""UCUM units and their words."""
PER_UNITS: Mapping[str, str] = MappingProxyType(
    {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}
)
_SEPARATORS = re.compile(r"[^a-zA-Z0-9:]+")
_NOT_IN_LABELS = re.compile(r"[^a-zA-Z0-9_]")
_CACHED = 4096


@lru_cache(_CACHED)
def metric_name(name: str, unit: str, *, is_counter: bool = False, is_gauge: bool = False) -> str:
    """The name with its unit, and `total` for a counter: `rpc.duration` in `s` becomes `rpc_duration_seconds`.

    "" for a name without letters and digits.
    """
    words = [word for word in _SEPARATORS.split(name) if word]
    if not words:
        return ""
    main, _, per = unit.partition("/")
    if (word := _unit_word(main.strip(), UNITS)) and word not in words:
        words.append(word)
    if (word := _unit_word(per.strip(), PER_UNITS)) and word not in words:
        words += ["per", word]
    for suffix, wanted in (("total", is_counter), ("ratio", is_gauge and unit == "1")):
        if wanted:
            words = [word for word in words if word != suffix] + [suffix]
    joined = "_".join(words)
    return f"_{joined}" if joined[:1].isdecimal() else joined


def _unit_word(unit: str, words: Mapping[str, str]) -> str:
    """The word of a unit; "" for one in braces, which is an annotation."""
    return "" if "{" in unit or "}" in unit else _SEPARATORS.sub("_", words.get(unit, unit)).strip("_")


@lru_cache(_CACHED)
def label_name(key: str) -> str:
    """The name of a label: `http.route` → `http_route`."""
    name = _NOT_IN_LABELS.sub("_", key)
    if name[:1].isdecimal():
        return f"key_{name}"
    return f"key{name}" if name.startswith("_") and not name.startswith("__") else name
