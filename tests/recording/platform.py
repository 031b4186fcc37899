"""Handmade platforms with metrics outside the catalog, as OpenMetrics text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

START = 1_767_600_000.0
Value = Callable[[str, float], float]
"""The value of a service at a time (seconds after the start)."""


def openmetrics(path: Path, metrics: Mapping[str, Mapping[str, Value]], length: float, step: float) -> Path:
    """Write series every `step` seconds: `metrics[name][labels](labels, time)`, labels as text, time from the start."""
    times = np.arange(0.0, length + step / 2, step).tolist()
    lines = [
        f"{name}{{{labels}}} {value(labels, time)!r} {START + time:.3f}\n"
        for name, rows in metrics.items()
        for labels, value in rows.items()
        for time in times
    ]
    path.write_text("".join(lines) + "# EOF\n")
    return path


def wave(level: float, seed: int, spread: float = 0.05) -> Value:
    """A level with reproducible noise."""

    def value(_: str, time: float) -> float:
        chance = np.random.default_rng([seed, round(time)])
        return level * float(1 + spread * chance.standard_normal())

    return value


def raised(value: Value, at: float, times: float, until: float = np.inf) -> Value:
    """The value, multiplied by `times` from `at` to `until` (seconds after the start)."""
    return lambda labels, time: value(labels, time) * (times if at <= time < until else 1.0)


def counter(rate: Value, step: float, reset: float = np.inf) -> Value:
    """A counter that grows by a rate (per second) and is reset to 0 at `reset`."""

    def value(labels: str, time: float) -> float:
        begin = reset if time >= reset else 0.0
        return float(sum(max(0.0, rate(labels, each)) * step for each in np.arange(begin, time, step)))

    return value
