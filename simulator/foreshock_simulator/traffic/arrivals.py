"""The arrivals of a flow."""

from __future__ import annotations

import heapq
import random
from collections.abc import Sequence
from math import ceil, inf
from typing import Literal

from foreshock_simulator.core.randomness import random_stream
from foreshock_simulator.spec.platform import FlowSpec
from foreshock_simulator.traffic import traces
from foreshock_simulator.traffic.rate import Curve, RelativeRate
from foreshock_simulator.traffic.sources import Client, Drawn, Lengths, Renewal, Replay, Source
from foreshock_simulator.traffic.traces import Arrival, TraceName, load

NEVER = Arrival(inf, 0, 0)


def arrivals(flow: FlowSpec, seed: int, start: float) -> Arrivals:
    """The requests of a flow from `start` (Unix seconds) on.

    Raises:
        ValueError: an invalid value of the flow; the message names the flow and the field.
    """
    _check(flow)
    return Arrivals(_sources(flow, seed, start), start, flow.diurnal, flow.peak_hour, flow.weekend)


class Arrivals:
    """Requests in order of time. Faults change the three curves at any time, with effect after the last request.

    `rate_factor` rescales the time of the sources (see `rate`), so a surge is as bursty as the traffic itself.
    `prompt_factor` and `answer_factor` multiply token counts.
    """

    def __init__(
        self, sources: Sequence[Source], start: float, diurnal: float, peak_hour: float, weekend: float
    ) -> None:
        self.rate_factor, self.prompt_factor, self.answer_factor = Curve(), Curve(), Curve()
        self._sources = sources
        self._relative_rate = RelativeRate(self.rate_factor, start, diurnal, peak_hour, weekend)
        self._last = 0.0
        self._version = 0
        self._pending: list[tuple[float, int, float, Drawn]] = []
        """(arrival time, source index, time of the previous arrival, drawn request)"""
        for index, source in enumerate(sources):
            self._push(index, 0.0, source.draw(0.0))

    def next(self) -> Arrival:
        """The next request, in seconds since the start; at infinity when none follows."""
        if self._version != self.rate_factor.version:
            self._reschedule()
        if not self._pending or self._pending[0][0] == inf:
            return NEVER
        time, index, _, drawn = heapq.heappop(self._pending)
        self._last = time
        self._push(index, time, self._sources[index].draw(time))
        return Arrival(
            time,
            round(drawn.prompt_tokens * self.prompt_factor(time)) or 1,
            round(drawn.generated_tokens * self.answer_factor(time)) or 1,
        )

    def _push(self, index: int, previous: float, drawn: Drawn) -> None:
        time = self._sources[index].arrival_time(previous, drawn.amount, self._relative_rate)
        if time < self._last:
            time = self._last
        heapq.heappush(self._pending, (time, index, previous, drawn))

    def _reschedule(self) -> None:
        """Recompute pending arrival times after a change of the rate. Each keeps its drawn amount of source time."""
        self._version = self.rate_factor.version
        pending, self._pending = sorted(self._pending), []
        for _, index, previous, drawn in pending:
            self._push(index, previous, drawn)


def _sources(flow: FlowSpec, seed: int, start: float) -> list[Source]:
    def rng(index: int, use: Literal["times", "lengths"]) -> random.Random:
        return random_stream(seed, f"traffic/{flow.name}/{use}/{index}")

    def lengths(index: int) -> Lengths:
        return _lengths(flow.tokens, rng(index, "lengths"))

    if flow.rate == 0.0:
        return []
    if flow.arrivals in ("poisson", "gamma"):
        cv = flow.cv if flow.arrivals == "gamma" else 1.0
        return [Renewal(flow.rate, "gamma", cv, rng(0, "times"), lengths(0))]
    if flow.arrivals == "servegen":
        scale = flow.rate / traces.client_rate()
        return [
            Client(day, scale, start, rng(index, "times"), lengths(index)) for index, day in enumerate(traces.clients())
        ]
    trace = load(flow.arrivals)
    # the smallest number of independent copies with at least the rate, each thinned
    copies = ceil(flow.rate / trace.rate - 1e-9)
    keep_ratio = min(flow.rate / (copies * trace.rate), 1.0)
    own_tokens = flow.tokens == flow.arrivals
    return [
        Replay(
            trace,
            1.0 if keep_ratio > 1.0 - 1e-9 else keep_ratio,
            rng(index, "times"),
            None if own_tokens else lengths(index),
        )
        for index in range(copies)
    ]


def _lengths(tokens: TraceName, rng: random.Random) -> Lengths:
    """Token counts drawn from the pairs of a trace, so that a prompt keeps its answer."""
    pairs = load(tokens).arrivals

    def draw() -> tuple[int, int]:
        _, prompt, generated = pairs[int(rng.random() * len(pairs))]
        return prompt, generated

    return draw


def _check(flow: FlowSpec) -> None:
    for field, value, minimum, maximum in (
        ("rate", flow.rate, 0.0, 1e6), ("cv", flow.cv, 0.05, 100.0), ("diurnal", flow.diurnal, 0.0, 1.0),
        ("peak_hour", flow.peak_hour, 0.0, 24.0), ("weekend", flow.weekend, 0.0, 10.0),
    ):  # fmt: skip
        if not minimum <= value <= maximum:
            raise ValueError(f"flow {flow.name!r}: {field} is {value}; give a figure from {minimum:g} to {maximum:g}")
