"""Values for JSON: rows are objects; NaN and infinity become None, so that absent is never zero."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass, fields

import numpy as np
from typing_extensions import dataclass_transform

from foreshock_dashboard.analysis.baseline.point import SMOOTHING_POINTS
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.rounding import six_digits
from foreshock_dashboard.stats.runs import moving_median

ABSENT_BYTE, FULL_SCALE_BYTE = 255, 250
"""Codes of `packed`: no value, and the upper end of the scale."""


@dataclass_transform(frozen_default=True)
class Row:
    """A row of a payload: its subclasses are frozen dataclasses, which JSON has as objects."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True)(cls)

    @classmethod
    def columns(cls) -> tuple[str, ...]:
        """The names of the values, in order."""
        return tuple(field.name for field in fields(cls))  # type: ignore[arg-type]  # made one above


def rounded(value: float) -> float:
    """A finite float with six significant digits."""
    return six_digits(value)


def number(value: float) -> float | None:
    """A float for JSON with six significant digits; None for NaN and infinity."""
    return rounded(value) if math.isfinite(value) else None


def number_of_time(seconds: float | None) -> float | None:
    """Unix seconds to the millisecond; None without a time."""
    return None if seconds is None or not math.isfinite(seconds) else round(seconds, 3)


def last(values: Floats) -> list[float | None]:
    """The newest column of an array of shape (rows, times)."""
    if values.shape[1] == 0:
        return [None] * values.shape[0]
    return [number(value) for value in values[:, -1].tolist()]


def last_median(values: Floats) -> list[float | None]:
    """The newest column, smoothed as in the analysis, so that tables and evidence show one value: the median of the
    last `SMOOTHING_POINTS` columns. Shape (rows, times). None where the newest value is unknown.
    """
    if values.shape[1] == 0:
        return last(values)
    smoothed = moving_median(values[:, -SMOOTHING_POINTS:], SMOOTHING_POINTS)[:, -1]
    return [number(value) for value in np.where(np.isnan(values[:, -1]), np.nan, smoothed).tolist()]


def newest(values: Floats) -> Floats:
    """The newest column; NaN without any column."""
    return values[:, -1] if values.shape[1] else np.full(len(values), np.nan)


def whole_percents(ratios: Floats) -> Floats:
    """Ratios as tables round them: the 0.4% steps of `packed` would print another figure than these."""
    return np.floor(ratios * 100 + 0.5) / 100


def packed(values: Floats, low: float = 0.0, high: float = 1.0) -> str:
    """Base64 of one byte per value: 0 to 250 from `low` to `high`, 255 for NaN."""
    with np.errstate(invalid="ignore"):
        ratio = np.clip((values - low) / (high - low or 1.0), 0.0, 1.0)
    codes = np.where(np.isnan(ratio), ABSENT_BYTE, np.round(np.nan_to_num(ratio) * FULL_SCALE_BYTE))
    return base64.b64encode(codes.astype(np.uint8).tobytes()).decode()
