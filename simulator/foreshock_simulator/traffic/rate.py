"""The rate of traffic over time, and exact rescaling of time by it.

An arrival process of rate 1 becomes one of rate r(t) when its k-th arrival, at u, happens at the t for which the
integral of r from 0 to t is u. Its burstiness stays the same (inverse of the time-rescaling theorem: Brown et al.,
Neural Computation 14(2), 2002).
"""

from __future__ import annotations

from bisect import bisect_right
from math import cos, inf, pi, sin, sqrt
from typing import NamedTuple

DAY_SECONDS = 86_400.0
_ANGULAR_VELOCITY = 2.0 * pi / DAY_SECONDS
"""Of the daily curve, in radians per second."""
_PRECISION_SECONDS = 1e-9
_MAX_PIECE_SECONDS = 3600.0
"""Longest piece of the daily curve in which a root is sought."""


class _Piece(NamedTuple):
    """A linear piece: `value` at `start`, and its growth per second."""

    start: float
    value: float
    slope: float


class Curve:
    """A piecewise linear factor over time, 1 at first. Times are seconds since the start."""

    def __init__(self) -> None:
        self._pieces = [_Piece(-inf, 1.0, 0.0)]
        self._starts = [-inf]
        self.version = 0
        """Number of changes."""

    def __call__(self, time: float) -> float:
        """The factor at a time."""
        if not self.version:
            return 1.0
        start, value, slope = self._pieces[bisect_right(self._starts, time) - 1]
        return value + slope * (time - start) if slope else value

    def change(self, at: float, to: float, ramp: float = 0.0) -> None:
        """Change the factor to `to` within `ramp` seconds from `at` on. Replaces all changes after `at`.

        Raises:
            ValueError: the factor or the ramp is negative.
        """
        if not 0.0 <= to < inf or ramp < 0.0:
            raise ValueError(f"a factor of {to} within {ramp} s cannot be; neither may be negative")
        before = self(at)
        self._pieces = [piece for piece in self._pieces if piece.start < at]
        if ramp > 0.0:
            self._pieces.append(_Piece(at, before, (to - before) / ramp))
        self._pieces.append(_Piece(at + ramp, to, 0.0))
        self._starts = [piece.start for piece in self._pieces]
        self.version += 1

    def piece(self, time: float) -> tuple[float, float, float]:
        """The factor at a time, its slope, and the end of the linear piece."""
        if not self.version:
            return 1.0, 0.0, inf
        index = bisect_right(self._starts, time)
        start, value, slope = self._pieces[index - 1]
        end = self._starts[index] if index < len(self._starts) else inf
        return (value + slope * (time - start) if slope else value), slope, end


class RelativeRate:
    """The rate relative to its mean: a daily curve, weekends, and a factor that faults change.

    `start` is second 0 in Unix seconds; see `FlowSpec` for the other arguments.
    """

    def __init__(
        self, factor: Curve, start: float, diurnal: float = 0.0, peak_hour: float = 14.0, weekend: float = 1.0
    ) -> None:
        self.factor = factor
        self._start, self._diurnal, self._peak, self._weekend = start, diurnal, peak_hour * 3600.0, weekend

    def __call__(self, time: float) -> float:
        """The relative rate at a time."""
        wave = 1.0 + self._diurnal * cos(self._angle(time))
        return self.factor(time) * self._weekend_factor(time) * wave

    def after(self, time: float, amount: float) -> float:
        """The time at which the integral of the relative rate from `time` on is `amount` seconds; inf if never."""
        while True:
            value, slope, end = self._piece(time)
            if end == inf and not slope and value > 0.0 and not self._diurnal:
                return time + amount / value
            if value <= 0.0 and slope <= 0.0:
                if self.factor.piece(time) == (0.0, 0.0, inf):
                    return inf
                time = end
                continue
            length = end - time
            if amount > min(value, value + slope * length if slope else value) * (1.0 - self._diurnal) * length:
                integral = self._integral(time, value, slope, length)
                if amount > integral:
                    time, amount = end, amount - integral
                    continue
            return time + self._solve(time, value, slope, amount, length)

    def between(self, time: float, end: float) -> float:
        """The integral of the relative rate between two times, in seconds."""
        total = 0.0
        while time < end:
            value, slope, until = self._piece(time)
            until = min(until, end)
            total += self._integral(time, value, slope, until - time)
            time = until
        return total

    def _angle(self, time: float) -> float:
        return _ANGULAR_VELOCITY * ((self._start + time) % DAY_SECONDS - self._peak)

    def _weekend_factor(self, time: float) -> float:
        if self._weekend == 1.0:
            return 1.0
        # 1 January 1970 was a Thursday
        return self._weekend if ((self._start + time) // DAY_SECONDS + 3) % 7 >= 5 else 1.0

    def _piece(self, time: float) -> tuple[float, float, float]:
        """The relative rate without the daily wave, its slope, and the end of the linear piece."""
        value, slope, end = self.factor.piece(time)
        if self._weekend != 1.0:
            weekend_factor = self._weekend_factor(time)
            value, slope = value * weekend_factor, slope * weekend_factor
            midnight = ((self._start + time) // DAY_SECONDS + 1.0) * DAY_SECONDS - self._start
            end = min(end, midnight if midnight > time else midnight + DAY_SECONDS)
        if self._diurnal:
            end = min(end, time + _MAX_PIECE_SECONDS)
        return value, slope, end

    def _integral(self, time: float, value: float, slope: float, length: float) -> float:
        """∫ (value + slope·x) · (1 + diurnal · cos(angle + ω·x)) dx from 0 to length; ω is `_ANGULAR_VELOCITY`."""
        total = (value + 0.5 * slope * length) * length
        if self._diurnal:
            first = self._angle(time)
            last = first + _ANGULAR_VELOCITY * length
            wave = (value + slope * length) * sin(last) - value * sin(first)
            total += self._diurnal * (wave + slope * (cos(last) - cos(first)) / _ANGULAR_VELOCITY) / _ANGULAR_VELOCITY
        return total

    def _solve(self, time: float, value: float, slope: float, amount: float, length: float) -> float:
        """The x at which the integral is `amount`, by Newton's method with bisection as a safeguard."""
        if not self._diurnal:
            root = sqrt(max(value * value + 2.0 * slope * amount, 0.0))
            return min(2.0 * amount / (value + root), length) if value + root > 0.0 else length
        angle, low, high = self._angle(time), 0.0, length
        rate = value * (1.0 + self._diurnal * cos(angle))
        x = min(amount / rate if rate > 0.0 else length, length)
        while high - low > _PRECISION_SECONDS:
            error = self._integral(time, value, slope, x) - amount
            low, high = (low, x) if error > 0.0 else (x, high)
            rate = (value + slope * x) * (1.0 + self._diurnal * cos(angle + _ANGULAR_VELOCITY * x))
            step = error / rate if rate > 0.0 else inf
            if abs(step) < _PRECISION_SECONDS:
                return min(max(x - step, 0.0), length)
            x = x - step if low < x - step < high else 0.5 * (low + high)
        return x
