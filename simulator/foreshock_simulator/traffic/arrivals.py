"""The requests of a flow, one after another."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from math import ceil, inf
from typing import Literal

from foreshock_simulator.core.randomness import random_stream
from foreshock_simulator.spec.traffic import FlowSpec
from foreshock_simulator.traffic import servegen
from foreshock_simulator.traffic.rate import Curve, Level
from foreshock_simulator.traffic.sources import Client, Drawn, Lengths, Renewal, Replay, Source
from foreshock_simulator.traffic.traces import Arrival, TraceName, load

NEVER = Arrival(inf, 0, 0)


def arrivals(flow: FlowSpec, seed: int, start: float) -> Arrivals:
    """The requests of a flow from `start` (Unix time) on, for ever.

    Raises:
        ValueError: a figure of the flow makes no sense; the message names the flow and the figure.
    """
    _check(flow)
    return Arrivals(_sources(flow, seed, start), start, flow.diurnal, flow.peak_hour, flow.weekend)


class Arrivals:
    """Requests in order of time. Faults change the three curves, at any moment, with effect after the last request.

    `rate_factor` bends the time of the sources (see `rate`), so that a surge is as bursty as the traffic that surges;
    `prompt_factor` and `answer_factor` multiply tokens.
    """

    __slots__ = ("_last", "_level", "_pending", "_sources", "_version", "answer_factor", "prompt_factor", "rate_factor")

    def __init__(
        self, sources: Sequence[Source], start: float, diurnal: float, peak_hour: float, weekend: float
    ) -> None:
        self.rate_factor, self.prompt_factor, self.answer_factor = Curve(), Curve(), Curve()
        self._sources = sources
        self._level = Level(self.rate_factor, start, diurnal, peak_hour, weekend)
        self._last = 0.0
        self._version = 0
        self._pending: list[tuple[float, int, float, Drawn]] = []
        """When, the source, after what time, and what was drawn."""
        for number, source in enumerate(sources):
            self._push(number, 0.0, source.draw(0.0))

    def next(self) -> Arrival:
        """The next request, in seconds since the start; at infinity where none comes any more."""
        if self._version != self.rate_factor.version:
            self._land_again()
        if not self._pending or self._pending[0][0] == inf:
            return NEVER
        time, number, _, drawn = heapq.heappop(self._pending)
        self._last = time
        self._push(number, time, self._sources[number].draw(time))
        return Arrival(
            time,
            round(drawn.prompt_tokens * self.prompt_factor(time)) or 1,
            round(drawn.generated_tokens * self.answer_factor(time)) or 1,
        )

    def _push(self, number: int, at: float, drawn: Drawn) -> None:
        time = self._sources[number].land(at, drawn.amount, self._level)
        if time < self._last:
            time = self._last
        heapq.heappush(self._pending, (time, number, at, drawn))

    def _land_again(self) -> None:
        """What is pending was drawn for another rate; its amount stays, and where that lands is computed again."""
        self._version = self.rate_factor.version
        pending, self._pending = sorted(self._pending), []
        for _, number, at, drawn in pending:
            self._push(number, at, drawn)


def _sources(flow: FlowSpec, seed: int, start: float) -> list[Source]:
    def rng(number: int, use: Literal["times", "lengths"]) -> random.Random:
        return random_stream(seed, f"traffic/{flow.name}/{use}/{number}")

    def lengths(number: int) -> Lengths:
        return _lengths(flow.tokens, rng(number, "lengths"))

    if flow.rate == 0.0:
        return []
    if flow.arrivals == "poisson":
        return [Renewal(flow.rate, "gamma", 1.0, rng(0, "times"), lengths(0))]
    if flow.arrivals == "gamma":
        return [Renewal(flow.rate, "gamma", flow.cv, rng(0, "times"), lengths(0))]
    if flow.arrivals == "servegen":
        scale = flow.rate / servegen.mean_rate()
        return [
            Client(day, scale, start, rng(number, "times"), lengths(number))
            for number, day in enumerate(servegen.clients())
        ]
    trace = load(flow.arrivals)
    # the least number of independent copies that together have the rate, each thinned
    copies = ceil(flow.rate / trace.rate - 1e-9)
    kept = min(flow.rate / (copies * trace.rate), 1.0)
    own = flow.tokens == flow.arrivals
    return [
        Replay(trace, 1.0 if kept > 1.0 - 1e-9 else kept, rng(number, "times"), None if own else lengths(number))
        for number in range(copies)
    ]


def _lengths(tokens: TraceName, rng: random.Random) -> Lengths:
    """Pairs of a trace, drawn at random: a long prompt keeps its answer."""
    pairs = load(tokens).arrivals

    def draw() -> tuple[int, int]:
        _, prompt, generated = pairs[int(rng.random() * len(pairs))]
        return prompt, generated

    return draw


def _check(flow: FlowSpec) -> None:
    for what, value, least, most in (
        ("rate", flow.rate, 0.0, 1e6), ("cv", flow.cv, 0.05, 100.0), ("diurnal", flow.diurnal, 0.0, 1.0),
        ("peak_hour", flow.peak_hour, 0.0, 24.0), ("weekend", flow.weekend, 0.0, 10.0),
    ):  # fmt: skip
        if not least <= value <= most:
            raise ValueError(f"flow {flow.name!r}: {what} is {value}; give a figure from {least:g} to {most:g}")
