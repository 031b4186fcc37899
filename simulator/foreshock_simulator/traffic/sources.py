"""Sources of arrivals: replayed traces, renewal processes, and clients with a rate that changes over the day."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cache
from math import exp, gamma, inf, lgamma
from typing import NamedTuple

from foreshock_simulator.traffic.rate import DAY_SECONDS, RelativeRate
from foreshock_simulator.traffic.traces import WINDOW_SECONDS, Family, Trace, Window

Lengths = Callable[[], tuple[int, int]]
"""Draws the tokens of a prompt and of its answer."""


class Drawn(NamedTuple):
    """The next request: the gap in the source's own time, and its token counts."""

    amount: float
    prompt_tokens: int
    generated_tokens: int


class Source(ABC):
    """A stream of arrivals in its own time, and their conversion to platform time."""

    @abstractmethod
    def draw(self, at: float, /) -> Drawn:
        """The next request after an arrival at `at`."""

    def arrival_time(self, at: float, amount: float, relative_rate: RelativeRate) -> float:
        """The platform time at which `amount` of the source's time has passed since `at`; inf if never."""
        return relative_rate.after(at, amount)


class Replay(Source):
    """A trace in a loop from a random point, of which each request is keep_ratio with a probability.

    Thinning turns an index of dispersion I into 1 + p · (I − 1) and keeps the duration of bursts, which slower replay
    would stretch.
    """

    def __init__(self, trace: Trace, keep_ratio: float, rng: random.Random, lengths: Lengths | None) -> None:
        self._trace, self._keep_ratio, self._rng, self._lengths = trace, keep_ratio, rng, lengths
        self._drawn = self._loop(rng.random() * trace.period)

    def draw(self, _at: float) -> Drawn:
        """See `Source`."""
        return next(self._drawn)

    def _loop(self, phase: float) -> Iterator[Drawn]:
        (arrivals, period), begin, last = self._trace, -phase, 0.0
        keep_ratio, random, lengths = self._keep_ratio, self._rng.random, self._lengths
        while True:
            for time, prompt, generated in arrivals:
                at = begin + time
                if at < 0.0 or (keep_ratio < 1.0 and random() >= keep_ratio):
                    continue
                yield Drawn(at - last, *(lengths() if lengths else (prompt, generated)))
                last = at
            begin += period
            # keeps times small and so exact in long runs
            begin, last = begin - last, 0.0


class Renewal(Source):
    """Independent gaps of one distribution."""

    def __init__(self, rate: float, family: Family, cv: float, rng: random.Random, lengths: Lengths) -> None:
        self._rate, self._family, self._cv, self._rng, self._lengths = rate, family, cv, rng, lengths
        self._begun = False

    def draw(self, _at: float) -> Drawn:
        """See `Source`."""
        draw, self._begun = gap if self._begun else first_gap, True
        return Drawn(draw(self._rng, self._family, self._cv) / self._rate, *self._lengths())


class Client(Source):
    """A renewal process; its rate and burstiness change with the ten-minute windows of the day.

    Its own time is counted in requests: 1 is the mean gap of the current window.
    """

    def __init__(
        self, day: tuple[Window, ...], scale: float, start: float, rng: random.Random, lengths: Lengths
    ) -> None:
        self._day, self._scale, self._start, self._rng, self._lengths = day, scale, start, rng, lengths
        self._begun = False

    def draw(self, at: float) -> Drawn:
        """See `Source`."""
        draw, self._begun = gap if self._begun else first_gap, True
        _, cv, family = self._next_active(self._window(at)[0])
        return Drawn(draw(self._rng, family, cv), *self._lengths())

    def arrival_time(self, at: float, amount: float, relative_rate: RelativeRate) -> float:
        """See `Source`."""
        idle_until = at + DAY_SECONDS
        while True:
            window, end = self._window(at)
            rate = self._day[window].rate * self._scale
            if rate > 0.0:
                window_requests = rate * relative_rate.between(at, end)
                if amount <= window_requests:
                    return relative_rate.after(at, amount / rate)
                amount -= window_requests
                if window_requests > 0.0:
                    idle_until = end + DAY_SECONDS
            if end > idle_until and relative_rate.after(end, 1e-9) == inf:
                return inf
            at = end

    def _window(self, at: float) -> tuple[int, float]:
        """The index of the window at a time, and its end."""
        number = int((self._start + at) // WINDOW_SECONDS)
        end = (number + 1) * WINDOW_SECONDS - self._start
        if end <= at:  # rounding
            number, end = number + 1, end + WINDOW_SECONDS
        return number % len(self._day), end

    def _next_active(self, window: int) -> Window:
        windows = len(self._day)
        return next(
            candidate for offset in range(windows) if (candidate := self._day[(window + offset) % windows]).rate > 0.0
        )


def gap(rng: random.Random, family: Family, cv: float) -> float:
    """Draw the gap to the next arrival, with mean 1 and a coefficient of variation; 1 is a Poisson process."""
    if family == "gamma":
        shape = 1.0 / (cv * cv)
        return rng.gammavariate(shape, 1.0 / shape)
    shape = weibull_shape(round(cv, 3))
    return rng.weibullvariate(1.0 / gamma(1.0 + 1.0 / shape), shape)


def first_gap(rng: random.Random, family: Family, cv: float) -> float:
    """Draw the gap from an arbitrary time to the next arrival, so that the process is stationary from that time on.

    The gap that contains the time is length-biased, and the time is uniform within it (renewal theory: forward
    recurrence time). A length-biased Gamma(k) gap is Gamma(k + 1); of a Weibull(k) gap, the k-th power is Gamma(1 + 1 /
    k).
    """
    if family == "gamma":
        shape = 1.0 / (cv * cv)
        biased = rng.gammavariate(shape + 1.0, 1.0 / shape)
    else:
        shape = weibull_shape(round(cv, 3))
        biased = rng.gammavariate(1.0 + 1.0 / shape, 1.0) ** (1.0 / shape) / gamma(1.0 + 1.0 / shape)
    return biased * rng.random()


@cache
def weibull_shape(cv: float) -> float:
    """The shape k of a Weibull distribution with this CV: Γ(1 + 2/k) / Γ(1 + 1/k)² = 1 + CV², by bisection.

    Raises:
        ValueError: the CV is not positive, or above 1,000.
    """
    if not 0.0 < cv <= 1000.0:
        raise ValueError(f"a coefficient of variation of {cv} is not within 0 and 1000")
    low, high = 0.1, 200.0
    for _ in range(80):
        middle = 0.5 * (low + high)
        squared = exp(lgamma(1.0 + 2.0 / middle) - 2.0 * lgamma(1.0 + 1.0 / middle)) - 1.0
        low, high = (middle, high) if squared > cv * cv else (low, middle)
    return 0.5 * (low + high)
