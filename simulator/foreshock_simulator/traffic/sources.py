"""Sources of arrivals: replayed traces, renewal processes, and clients with a rate that changes over the day."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from math import inf
from typing import NamedTuple, Protocol

from foreshock_simulator.traffic.rate import DAY_SECONDS, RelativeRate
from foreshock_simulator.traffic.renewal import Family, first_gap, gap
from foreshock_simulator.traffic.servegen import WINDOW_SECONDS, Window
from foreshock_simulator.traffic.traces import Trace

Lengths = Callable[[], tuple[int, int]]
"""Draws the tokens of a prompt and of its answer."""


class Drawn(NamedTuple):
    """The next request: the gap in the source's own time, and its token counts."""

    amount: float
    prompt_tokens: int
    generated_tokens: int


class Source(Protocol):
    """A stream of arrivals in its own time, and their conversion to platform time."""

    def draw(self, at: float, /) -> Drawn:
        """The next request after an arrival at `at`."""

    def arrival_time(self, at: float, amount: float, relative_rate: RelativeRate) -> float:
        """The platform time at which `amount` of the source's time has passed since `at`; inf if never."""


class Replay:
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

    def arrival_time(self, at: float, amount: float, relative_rate: RelativeRate) -> float:
        """See `Source`."""
        return relative_rate.after(at, amount)

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


class Renewal:
    """Independent gaps of one distribution."""

    def __init__(self, rate: float, family: Family, cv: float, rng: random.Random, lengths: Lengths) -> None:
        self._rate, self._family, self._cv, self._rng, self._lengths = rate, family, cv, rng, lengths
        self._begun = False

    def draw(self, _at: float) -> Drawn:
        """See `Source`."""
        draw, self._begun = gap if self._begun else first_gap, True
        return Drawn(draw(self._rng, self._family, self._cv) / self._rate, *self._lengths())

    def arrival_time(self, at: float, amount: float, relative_rate: RelativeRate) -> float:
        """See `Source`."""
        return relative_rate.after(at, amount)


class Client:
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
