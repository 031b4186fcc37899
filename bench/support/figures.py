"""The figures of a benchmark with their goals and peers: printed by each, collected by `make bench` into one table."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench.support.machine import factors

FILE_VARIABLE = "BENCH_FIGURES"
"""Environment variable with the file to which a benchmark adds its figures, a line of JSON each."""
TIME_UNITS = frozenset({"s", "ms", "µs", "% of a core", "/CPU s"})
"""Units of figures that grow with the factor of the machine; "/CPU s" falls with it."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measured value, NaN where there was nothing to measure, which holds no goal.

    goal: limit of the value, the least with `more_is_better`; NaN without one.
    peer, peer_value: who else was measured in the same run, or the source of a recorded figure, and its value.
    min_ratio: how many times better than the peer the value must be; NaN without a goal.
    is_latency: whether it includes the wait for a core. factor: of the machine while it was measured
    (`machine.factors`).
    """

    name: str
    value: float
    unit: str
    goal: float = math.nan
    more_is_better: bool = False
    peer: str = ""
    peer_value: float = math.nan
    min_ratio: float = math.nan
    is_latency: bool = False
    factor: float = 1.0

    def _times_better(self, other: float) -> float:
        if math.isnan(other):
            return math.nan
        better, worse = (self.value, other) if self.more_is_better else (other, self.value)
        return better / worse if worse else math.inf

    @property
    def to_goal(self) -> float:
        """How many times better than the goal, on a machine with factor 1; NaN without a goal."""
        return self._times_better(self.goal) * (self.factor if self.unit in TIME_UNITS else 1.0)

    @property
    def to_peer(self) -> float:
        """How many times better than the peer; NaN without one."""
        return self._times_better(self.peer_value)

    @property
    def held(self) -> bool:
        """Whether it was measured, and neither ratio is below its goal."""
        return not (math.isnan(self.value) or self.to_goal < 1.0 or self.to_peer < self.min_ratio)


def report(figures: Sequence[Figure]) -> int:
    """Print the figures, and add them to the file of `make bench`; returns 1 if one misses its goal, otherwise 0."""
    now = factors()
    rated = [replace(figure, factor=now.elapsed if figure.is_latency else now.cpu) for figure in figures]
    for figure in rated:
        goal = "" if math.isnan(figure.goal) else f" (goal {figure.goal:g}, {figure.to_goal:.2f} times as good)"
        peer = f"; {figure.peer} {figure.peer_value:.4g}, {figure.to_peer:.2f} times as good" if figure.peer else ""
        print(f"{'held' if figure.held else 'MISSED'}: {figure.name} {figure.value:.4g} {figure.unit}{goal}{peer}")
    print(f"machine factor {now.cpu:.2f}, of latencies {now.elapsed:.2f}", flush=True)
    if path := os.environ.get(FILE_VARIABLE):
        with Path(path).open("a") as file:
            file.writelines(json.dumps(asdict(figure)) + "\n" for figure in rated)
    return 0 if all(figure.held for figure in rated) else 1
