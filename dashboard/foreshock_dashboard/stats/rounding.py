"""Rounding of figures for display."""

from __future__ import annotations

import math


def six_digits(value: float) -> float:
    """The value as JSON and texts have it: of the same six significant digits, so that both round it alike."""
    return float(f"{value:.6g}")


def displayed(value: float, unit: str) -> float:
    """The value that a reader takes from its text, in its unit: "s" and "ratio" have three digits at most.

    Any other unit is a count. Not negative. Texts are made by `render/units.py`, which rounds in the same way.
    """
    if unit in ("s", "ratio"):
        value = six_digits(value)
    if unit == "s":
        if value < 100:
            return round(value * 1000) / 1000 if value < 1 else round(value, 2 if value < 10 else 1)
        return round(value) if value < 999.5 else math.floor(value / 60 + 0.5) * 60
    if unit == "ratio":
        percent = value * 100
        return (round(percent) if percent == 0 or percent >= 10 else max(0.1, round(percent, 1))) / 100
    return round(value)
