"""How the rate of traffic goes over time, and when so much of it has gone by: exact rescaling of time.

An arrival process of rate 1 becomes one of rate r(t) where its k-th arrival, at u, happens at the t for which the
integral of r from 0 to t is u. Whatever is bursty or regular about it stays so (the time-rescaling theorem backwards:
Brown et al., Neural Computation 14(2), 2002).
"""

from __future__ import annotations

from bisect import bisect_right
from math import cos, inf, pi, sin, sqrt
from typing import NamedTuple

DAY = 86_400.0
_TURN = 2.0 * pi / DAY
_PRECISION = 1e-9
"""Seconds."""
_STRETCH = 3600.0
"""Seconds of the daily curve within which a root is sought at a time."""


class _Stretch(NamedTuple):
    """From `start` on: `value` at the start, and how it grows per second."""

    start: float
    value: float
    slope: float


class Curve:
    """A factor over time, linear in pieces; 1 at first. Times are seconds since the start."""

    __slots__ = ("_starts", "_stretches", "version")

    def __init__(self) -> None:
        self._stretches = [_Stretch(-inf, 1.0, 0.0)]
        self._starts = [-inf]
        self.version = 0
        """How often it was changed."""

    def __call__(self, time: float) -> float:
        """The factor at a time."""
        if not self.version:
            return 1.0
        start, value, slope = self._stretches[bisect_right(self._starts, time) - 1]
        return value + slope * (time - start) if slope else value

    def change(self, at: float, to: float, ramp: float = 0.0) -> None:
        """From `at` on, go from what it is then to another factor within `ramp` seconds, and stay there.

        Takes the place of all that was to happen after `at`.

        Raises:
            ValueError: the factor or the ramp is negative.
        """
        if not 0.0 <= to < inf or ramp < 0.0:
            raise ValueError(f"a factor of {to} within {ramp} s cannot be; neither may be negative")
        before = self(at)
        self._stretches = [stretch for stretch in self._stretches if stretch.start < at]
        if ramp > 0.0:
            self._stretches.append(_Stretch(at, before, (to - before) / ramp))
        self._stretches.append(_Stretch(at + ramp, to, 0.0))
        self._starts = [stretch.start for stretch in self._stretches]
        self.version += 1

    def piece(self, time: float) -> tuple[float, float, float]:
        """The factor at a time, its slope, and until when that holds."""
        if not self.version:
            return 1.0, 0.0, inf
        index = bisect_right(self._starts, time)
        start, value, slope = self._stretches[index - 1]
        end = self._starts[index] if index < len(self._starts) else inf
        return (value + slope * (time - start) if slope else value), slope, end


class Level:
    """The rate relative to its mean: a daily curve, weekends, and a factor that faults change.

    Args:
        factor: of the rate.
        start: Unix time of second 0.
        diurnal: (highest − lowest) / (2 · mean) of the daily cosine, 0 to 1; its peak is at `peak_hour` (UTC).
        weekend: the level on Saturday and Sunday (UTC) relative to other days.
    """

    __slots__ = ("_diurnal", "_peak", "_start", "_weekend", "factor")

    def __init__(
        self, factor: Curve, start: float, diurnal: float = 0.0, peak_hour: float = 14.0, weekend: float = 1.0
    ) -> None:
        self.factor = factor
        self._start, self._diurnal, self._peak, self._weekend = start, diurnal, peak_hour * 3600.0, weekend

    def __call__(self, time: float) -> float:
        """The level at a time."""
        wave = 1.0 + self._diurnal * cos(self._angle(time))
        return self.factor(time) * self._of_day(time) * wave

    def after(self, time: float, amount: float) -> float:
        """When the integral of the level from `time` on is `amount` (seconds at level 1); inf if it never is."""
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
                # it may not fit
                whole = self._integral(time, value, slope, length)
                if amount > whole:
                    time, amount = end, amount - whole
                    continue
            return time + self._solve(time, value, slope, amount, length)

    def between(self, time: float, end: float) -> float:
        """The integral of the level, in seconds at level 1."""
        total = 0.0
        while time < end:
            value, slope, until = self._piece(time)
            until = min(until, end)
            total += self._integral(time, value, slope, until - time)
            time = until
        return total

    def _angle(self, time: float) -> float:
        return _TURN * ((self._start + time) % DAY - self._peak)

    def _of_day(self, time: float) -> float:
        if self._weekend == 1.0:
            return 1.0
        # 1 January 1970 was a Thursday
        return self._weekend if ((self._start + time) // DAY + 3) % 7 >= 5 else 1.0

    def _piece(self, time: float) -> tuple[float, float, float]:
        """The level without the daily wave, its slope, and until when that holds."""
        value, slope, end = self.factor.piece(time)
        if self._weekend != 1.0:
            of_day = self._of_day(time)
            value, slope = value * of_day, slope * of_day
            midnight = ((self._start + time) // DAY + 1.0) * DAY - self._start
            end = min(end, midnight if midnight > time else midnight + DAY)
        if self._diurnal:
            end = min(end, time + _STRETCH)
        return value, slope, end

    def _integral(self, time: float, value: float, slope: float, length: float) -> float:
        """∫ (value + slope·x) · (1 + diurnal · cos(angle + turn·x)) dx from 0 to length."""
        total = (value + 0.5 * slope * length) * length
        if self._diurnal:
            first = self._angle(time)
            last = first + _TURN * length
            wave = (value + slope * length) * sin(last) - value * sin(first)
            total += self._diurnal * (wave + slope * (cos(last) - cos(first)) / _TURN) / _TURN
        return total

    def _solve(self, time: float, value: float, slope: float, amount: float, length: float) -> float:
        """The x at which the integral is `amount`: Newton's method, kept within the piece by bisection."""
        if not self._diurnal:
            root = sqrt(max(value * value + 2.0 * slope * amount, 0.0))
            return min(2.0 * amount / (value + root), length) if value + root > 0.0 else length
        angle, low, high = self._angle(time), 0.0, length
        rate = value * (1.0 + self._diurnal * cos(angle))
        x = min(amount / rate if rate > 0.0 else length, length)
        while high - low > _PRECISION:
            error = self._integral(time, value, slope, x) - amount
            low, high = (low, x) if error > 0.0 else (x, high)
            rate = (value + slope * x) * (1.0 + self._diurnal * cos(angle + _TURN * x))
            step = error / rate if rate > 0.0 else inf
            if abs(step) < _PRECISION:
                return min(max(x - step, 0.0), length)
            x = x - step if low < x - step < high else 0.5 * (low + high)
        return x
