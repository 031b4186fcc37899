"""Where arrivals come from: replayed traces, renewal processes, and clients whose rate changes over the day."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from math import inf
from typing import NamedTuple, Protocol

from foreshock_simulator.traffic.rate import DAY, Level
from foreshock_simulator.traffic.renewal import Family, first_gap, gap
from foreshock_simulator.traffic.servegen import WINDOW_SECONDS, Window
from foreshock_simulator.traffic.traces import Trace

Lengths = Callable[[], tuple[int, int]]
"""Draws the tokens of a prompt and of its answer."""


class Drawn(NamedTuple):
    """What comes next: after how much of the source's own time, and how long prompt and answer are."""

    amount: float
    prompt_tokens: int
    generated_tokens: int


class Source(Protocol):
    """A stream of arrivals in its own time, and when these are in the time of the platform."""

    def draw(self, at: float, /) -> Drawn:
        """What comes next, after what came at `at`."""

    def land(self, at: float, amount: float, level: Level) -> float:
        """When so much of the source's time has gone by since `at`; inf if it never has."""


class Replay:
    """A trace in a loop, from a point that chance decides, of which each request is kept with a probability.

    Thinning turns an index of dispersion I into 1 + p · (I − 1): the share of a bursty crowd is as bursty as that. The
    bursts last as long as they did; replaying more slowly would stretch them.
    """

    def __init__(self, trace: Trace, kept: float, rng: random.Random, lengths: Lengths | None) -> None:
        self._trace, self._kept, self._rng, self._lengths = trace, kept, rng, lengths
        self._drawn = self._loop(rng.random() * trace.period)

    def draw(self, _at: float) -> Drawn:
        """See `Source`."""
        return next(self._drawn)

    def land(self, at: float, amount: float, level: Level) -> float:
        """See `Source`."""
        return level.after(at, amount)

    def _loop(self, phase: float) -> Iterator[Drawn]:
        (arrivals, period), begin, last = self._trace, -phase, 0.0
        kept, random, lengths = self._kept, self._rng.random, self._lengths
        while True:
            for time, prompt, generated in arrivals:
                at = begin + time
                if at < 0.0 or (kept < 1.0 and random() >= kept):
                    continue
                yield Drawn(at - last, *(lengths() if lengths else (prompt, generated)))
                last = at
            begin += period
            # keeps the times small, and so exact, however long it runs
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

    def land(self, at: float, amount: float, level: Level) -> float:
        """See `Source`."""
        return level.after(at, amount)


class Client:
    """A renewal process whose rate and burstiness are those of the ten minutes of the day that it is in.

    Its own time is counted in requests: a gap of 1 is the mean gap of whatever window.
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

    def land(self, at: float, amount: float, level: Level) -> float:
        """See `Source`."""
        silent_until = at + DAY
        while True:
            window, end = self._window(at)
            rate = self._day[window].rate * self._scale
            if rate > 0.0:
                whole = rate * level.between(at, end)
                if amount <= whole:
                    return level.after(at, amount / rate)
                amount -= whole
                if whole > 0.0:
                    silent_until = end + DAY
            if end > silent_until and level.after(end, 1e-9) == inf:
                return inf
            at = end

    def _window(self, at: float) -> tuple[int, float]:
        """The window of the day that a time is in, and its end."""
        number = int((self._start + at) // WINDOW_SECONDS)
        end = (number + 1) * WINDOW_SECONDS - self._start
        if end <= at:  # rounded down
            number, end = number + 1, end + WINDOW_SECONDS
        return number % len(self._day), end

    def _next_active(self, window: int) -> Window:
        windows = len(self._day)
        return next(one for i in range(windows) if (one := self._day[(window + i) % windows]).rate > 0.0)
