"""Figures of an evaluation: how each is estimated from the outcomes, and its acceptance bounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from foreshock_evaluation.outcome import Groups, Outcome
from foreshock_evaluation.resampling import Bootstrap, Estimate, Sample
from foreshock_evaluation.verdict import Eta, Verdict

ROUNDING = 1e-9
"""Tolerance of bounds, for the floating-point error of weighted means."""

Unit = Literal["share", "seconds", "per day", "points", "pages"]
Estimator = Callable[[Groups, Bootstrap], Estimate]


class Bounds(NamedTuple):
    """Acceptance bounds of a figure; infinite without a bound on that side."""

    least: float = -math.inf
    most: float = math.inf

    def met(self, value: float) -> bool:
        """Whether a value lies within the bounds."""
        return self.least - ROUNDING <= value <= self.most + ROUNDING


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its bounds.

    bar: acceptance bounds. best: those of a world-class result. None without bounds.
    """

    name: str
    unit: Unit
    estimate: Estimate
    bar: Bounds | None = None
    best: Bounds | None = None

    @property
    def standing(self) -> str:
        """`world-class`, `met`, `missed`; empty without bounds or value."""
        if self.bar is None or math.isnan(self.estimate.value):
            return ""
        if self.best is not None and self.best.met(self.estimate.value):
            return "world-class"
        return "met" if self.bar.met(self.estimate.value) else "missed"


def figures(groups: Groups, draws: Bootstrap) -> tuple[Figure, ...]:
    """All figures, in the order of the table."""
    return tuple(Figure(name, unit, take(groups, draws), bar, best) for name, unit, take, bar, best in FIGURE_ROWS)


def sample(outcome: Outcome, value: float) -> Sample:
    """Sample of a run for the bootstrap."""
    return Sample(outcome.run.scenario, outcome.run.seed, float(value))


def _warned(what: Callable[[Outcome], float]) -> Estimator:
    """Mean over cascades that leave time for a warning."""
    return lambda groups, draws: draws.mean([sample(each, what(each)) for each in groups.warnable])


def _lead(q: float) -> Estimator:
    return lambda groups, draws: draws.quantile([sample(each, each.pages.lead_seconds) for each in groups.warnable], q)


def _room(q: float) -> Estimator:
    """Lead time of a page at the fault's onset: an upper bound for any detector."""

    def take(groups: Groups, draws: Bootstrap) -> Estimate:
        return draws.quantile([sample(each, each.gap) for each in groups.warnable if each.gap is not None], q)

    return take


def _page_mean(what: Callable[[Verdict], float | None]) -> Estimator:
    """Mean over the first pages of cascades; None values do not count."""

    def take(groups: Groups, draws: Bootstrap) -> Estimate:
        values = [(each, what(each.verdict)) for each in groups.cascades if each.verdict]
        return draws.mean([sample(each, value) for each, value in values if value is not None])

    return take


def _rate(of: Callable[[Groups], Sequence[Outcome]], what: Callable[[Outcome], float]) -> Estimator:
    """Number per quiet service-day."""

    def take(groups: Groups, draws: Bootstrap) -> Estimate:
        chosen = of(groups)
        days = [sample(each, each.service_days) for each in chosen]
        return draws.ratio([sample(each, what(each)) for each in chosen], days)

    return take


def _etas(groups: Groups) -> list[tuple[Outcome, Eta]]:
    return [(each, eta) for each in groups.cascades if each.verdict for eta in each.verdict.etas]


def _storms(groups: Groups, draws: Bootstrap) -> Estimate:
    return draws.mean([sample(each, each.storm) for each in groups.cascades if each.storm is not None])


def _benign_paged(groups: Groups, draws: Bootstrap) -> Estimate:
    return draws.mean([sample(each, each.pages.false_alarms > 0) for each in groups.benign])


def _within_80(groups: Groups, draws: Bootstrap) -> Estimate:
    known = [(each, eta) for each, eta in _etas(groups) if not math.isnan(eta.p10)]
    return draws.mean([sample(each, eta.p10 <= eta.actual <= eta.p90) for each, eta in known])


def _within_60(groups: Groups, draws: Bootstrap) -> Estimate:
    return draws.mean([sample(each, eta.p20 <= eta.actual <= eta.p80) for each, eta in _etas(groups)])


def _eta_error(groups: Groups, draws: Bootstrap) -> Estimate:
    """Median of |forecast − actual| / actual, for the p50 forecast; infinite where no breach was forecast."""
    errors = [sample(each, abs(eta.p50 - eta.actual) / eta.actual) for each, eta in _etas(groups)]
    return draws.quantile(errors, 0.5)


def _delay(groups: Groups, draws: Bootstrap) -> Estimate:
    found = [(each, each.pages.delay_seconds) for each in groups.cascades]
    return draws.quantile([sample(each, delay) for each, delay in found if delay is not None], 0.5)


def _benign(groups: Groups) -> Sequence[Outcome]:
    return groups.benign


def _all(groups: Groups) -> Sequence[Outcome]:
    return (*groups.cascades, *groups.benign)


class Row(NamedTuple):
    """A figure, its estimator, and its bounds."""

    name: str
    unit: Unit
    take: Estimator
    bar: Bounds | None = None
    best: Bounds | None = None


WARNED, EARLY = "warned by onset + 5 min", "warned before onset"
FIGURE_ROWS = (
    Row(WARNED, "share", _warned(lambda run: run.pages.hit), Bounds(0.90), Bounds(0.97)),
    Row(EARLY, "share", _warned(lambda run: run.pages.early), Bounds(0.80), Bounds(0.90)),
    Row("retry storm: advisory before the trigger", "share", _storms, Bounds(0.60), Bounds(0.80)),
    Row("lead, median", "seconds", _lead(0.5), Bounds(180), Bounds(300)),
    Row("lead, lower quartile", "seconds", _lead(0.25), Bounds(60), Bounds(120)),
    Row(
        "pages per service-day, benign runs",
        "per day",
        _rate(_benign, lambda run: run.pages.false_alarms),
        Bounds(most=0.3),
        Bounds(most=0.1),
    ),
    Row("benign runs paged", "share", _benign_paged, Bounds(most=0.10), Bounds(most=0.05)),
    Row(
        "culprit top-1 at first page",
        "share",
        _page_mean(lambda first: first.top1),
        Bounds(0.85),
        Bounds(0.92),
    ),
    Row(
        "culprit top-3 at first page",
        "share",
        _page_mean(lambda first: first.top3),
        Bounds(0.95),
        Bounds(0.98),
    ),
    Row(
        "aggressor, victim and pool right",
        "share",
        _page_mean(lambda first: first.pair),
        Bounds(0.80),
        Bounds(0.90),
    ),
    Row("cause class right", "share", _page_mean(lambda first: first.right_cause), Bounds(0.80), Bounds(0.90)),
    Row("time to breach within p10–p90", "share", _within_80, Bounds(0.65, 0.95), Bounds(0.75, 0.85)),
    Row("time to breach within p20–p80", "share", _within_60),
    Row("time to breach, median relative error", "share", _eta_error, Bounds(most=0.6), Bounds(most=0.35)),
    Row("extent at first page, F1", "share", _page_mean(lambda first: first.extent)),
    Row("warned 2 min or more before onset", "share", _warned(lambda run: run.pages.useful)),
    Row("time from the fault to the onset, median", "seconds", _room(0.5)),
    Row("time from the fault to the onset, lower quartile", "seconds", _room(0.25)),
    Row("first page after the fault, median", "seconds", _delay),
    Row("advised before onset, pages or not", "share", _warned(lambda run: run.advisories.early)),
    Row("advisories per service-day, benign runs", "per day", _rate(_benign, lambda run: run.advisories.false_alarms)),
    Row("false pages per service-day, all quiet time", "per day", _rate(_all, lambda run: run.pages.false_alarms)),
)
