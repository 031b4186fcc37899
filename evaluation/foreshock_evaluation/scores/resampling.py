"""Macro averages over scenarios, and their 95% intervals by a bootstrap over scenario × seed.

Each draw takes, within every scenario, as many seeds as there are, with replacement (Efron, *Bootstrap methods*, 1979;
percentile interval). All figures of an evaluation share the draws, so differences between detectors are paired. Each
scenario weighs the same however many of its runs count. There is no interval where every scenario has one seed: draws
do not differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.types import Floats

BOOTSTRAP_DRAWS = 2000


class Sample(NamedTuple):
    """A figure of one run."""

    scenario: str
    seed: int
    value: float


class Estimate(NamedTuple):
    """A figure with its 95% interval and number of runs; NaN where unknown."""

    value: float
    low: float = float("nan")
    high: float = float("nan")
    runs: int = 0


class Bootstrap:
    """Bootstrap draws over (scenario, seed) pairs."""

    def __init__(self, pairs: Iterable[tuple[str, int]], draws: int = BOOTSTRAP_DRAWS) -> None:
        self._columns = {pair: i for i, pair in enumerate(sorted(set(pairs)))}
        self._weights = np.ones((1 + draws, len(self._columns)))
        self._repeated: set[str] = set()
        random = np.random.default_rng(0)
        for scenario in sorted({scenario for scenario, _ in self._columns}):
            own = [i for pair, i in self._columns.items() if pair[0] == scenario]
            self._repeated |= {scenario} if len(own) > 1 else set()
            self._weights[1:, own] = random.multinomial(len(own), np.full(len(own), 1 / len(own)), size=draws)

    def mean(self, samples: Sequence[Sample]) -> Estimate:
        """Mean over runs within each scenario, then over scenarios."""
        if not samples:
            return Estimate(float("nan"))
        weights, values = self._per_sample(samples)
        with np.errstate(invalid="ignore"):
            return self._estimate((weights * values).sum(axis=1) / weights.sum(axis=1), samples)

    def quantile(self, samples: Sequence[Sample], q: float) -> Estimate:
        """Quantile `q` over runs, with equal weight of each scenario."""
        if not samples:
            return Estimate(float("nan"))
        weights, values = self._per_sample(samples)
        order = np.argsort(values, kind="stable")
        total = weights.sum(axis=1)
        reached = np.cumsum(weights[:, order], axis=1) >= q * total[:, None] - 1e-9
        return self._estimate(np.where(total > 0, values[order][reached.argmax(axis=1)], np.nan), samples)

    def ratio(self, above: Sequence[Sample], below: Sequence[Sample]) -> Estimate:
        """Sum over sum, of figures of the same runs: pages over service-days."""
        if not below:
            return Estimate(float("nan"))
        weights = self._weights[:, [self._columns[sample[:2]] for sample in below]]
        top, bottom = np.array([sample.value for sample in above]), np.array([sample.value for sample in below])
        with np.errstate(invalid="ignore", divide="ignore"):
            return self._estimate((weights * top).sum(axis=1) / (weights * bottom).sum(axis=1), below)

    def _per_sample(self, samples: Sequence[Sample]) -> tuple[Floats, Floats]:
        """Weights (draws, samples), each scenario's summing to 1 where it has any; values (samples,)."""
        weights = self._weights[:, [self._columns[sample[:2]] for sample in samples]]
        scenarios = np.array([sample.scenario for sample in samples])
        for scenario in np.unique(scenarios):
            own = scenarios == scenario
            total = weights[:, own].sum(axis=1, keepdims=True)
            weights[:, own] /= np.where(total > 0, total, 1.0)
        return weights, np.array([sample.value for sample in samples])

    def _estimate(self, draws: Floats, samples: Sequence[Sample]) -> Estimate:
        """Estimate from the measured value (first) and the draws; NaN for draws without a run that has the figure."""
        known = draws[1:][~np.isnan(draws[1:])]
        is_known = len(known) > 0 and any(sample.scenario in self._repeated for sample in samples)
        low, high = np.quantile(known, (0.025, 0.975)) if is_known else (np.nan, np.nan)
        return Estimate(float(draws[0]), float(low), float(high), len(samples))
