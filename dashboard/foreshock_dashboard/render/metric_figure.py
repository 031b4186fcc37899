"""Values of arbitrary metrics as text, with the unit that the name of the metric states."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from foreshock_dashboard.render.units import duration, percent, significant

_SHARE = re.compile(r"(.+) \(share of (.+)\)")
NOTHING = 1e-9
"""Absolute value below which a figure is zero: a rounding error, or the floor of a logarithm."""
_BYTE_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_FORMATS: Mapping[str, tuple[str, Callable[[float], str]]] = {
    r"(^|_)cpu.*_seconds_total$": ("cores", lambda value: f"{significant(value)} cores"),
    r"(^|_)(seconds|p\d\d)$": ("s", duration),
    r"_(milliseconds|millis|msec|ms)$": ("ms", lambda value: duration(value / 1e3)),
    r"_(microseconds|usec|us)$": ("us", lambda value: duration(value / 1e6)),
    r"_(nanoseconds|nsec|ns)$": ("ns", lambda value: duration(value / 1e9)),
    r"_bytes_total$": ("bytes/s", lambda value: f"{byte_size(value)}/s"),
    r"_bytes$": ("bytes", lambda value: byte_size(value)),
    r"_(ratio|share)$": ("ratio", percent),
    r"_(percent|percentage|pct)$": ("percent", lambda value: percent(value / 100)),
}
"""Units and formats by the end of the name, as Prometheus' naming practices and the OpenMetrics units have it.

Counters are compared as rates: seconds of CPU time per second are cores.
"""


def metric_figure(metric: str, value: float) -> str:
    """A value of a metric: `2.4 s` for `latency_seconds`, `310 MiB` for `rss_bytes`; the number for other units."""
    value = 0.0 if abs(value) < NOTHING else value
    _, form = _format(metric)
    return form(value) if value >= 0 else significant(value)


def metric_unit(metric: str) -> str:
    """The unit of a metric by its name: `s`, `bytes`, `ratio`, …; "" if the name has none."""
    return _format(metric)[0]


def _format(metric: str) -> tuple[str, Callable[[float], str]]:
    found = (known for pattern, known in _FORMATS.items() if re.search(pattern, metric, re.IGNORECASE))
    return next(found, ("", significant))


def split_share(name: str) -> tuple[str, str]:
    """The name of a share, and of what, which belongs behind its figure: `ready replicas 100% → 67% of desired`.

    `ready replicas (share of desired)` gives `ready replicas` and `desired`; other names have no second part.
    """
    match = _SHARE.fullmatch(name)
    return (match[1], match[2]) if match else (name, "")


def byte_size(size: float) -> str:
    """A number of bytes in IEC units: `310 MiB`."""
    power = 0
    while size >= 1024 and power < len(_BYTE_UNITS) - 1:
        size, power = size / 1024, power + 1
    return f"{significant(size)} {_BYTE_UNITS[power]}"
