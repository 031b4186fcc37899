"""Figures of an evaluation: how each is estimated from the outcomes, and its acceptance bounds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from foreshock_evaluation.scores.outcome import Groups
from foreshock_evaluation.scores.resampling import Bootstrap, Estimate, Sample

ROUNDING = 1e-9
"""Tolerance of bounds, for the floating-point error of weighted means."""

Unit = Literal["share", "seconds", "per day", "points", "pages"]
Group = Literal["cascades", "warnable", "benign", "scored"]
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
    def bounded_by_evidence(self) -> Figure:
        """The figure, without bounds if it has no interval: one run is no evidence."""
        return self if not math.isnan(self.estimate.low) else replace(self, bar=None, best=None)

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
    return tuple(Figure(row.name, row.unit, row.estimator(groups, draws), row.bar, row.best) for row in FIGURE_ROWS)


def _samples(groups: Groups, group: Group, path: str) -> list[Sample]:
    """An attribute such as `pages.hit` of the outcomes of a group; None values do not count."""
    first, _, rest = path.partition(".")
    samples = []
    for outcome in getattr(groups, group):
        value = getattr(outcome, first)
        if rest and value is not None:
            value = getattr(value, rest)
        if value is not None:
            samples.append(outcome.sample(value))
    return samples


def _mean(group: Group, path: str) -> Estimator:
    return lambda groups, draws: draws.mean(_samples(groups, group, path))


def _mean_of_runs(group: Group, path: str) -> Estimator:
    """Mean in which each run counts alike, and not each scenario."""

    def estimator(groups: Groups, draws: Bootstrap) -> Estimate:
        samples = _samples(groups, group, path)
        return draws.ratio(samples, [sample._replace(value=1.0) for sample in samples])

    return estimator


def _quantile(group: Group, path: str, q: float) -> Estimator:
    return lambda groups, draws: draws.quantile(_samples(groups, group, path), q)


def _rate(group: Group, path: str) -> Estimator:
    """Number per quiet service-day."""
    return lambda groups, draws: draws.ratio(_samples(groups, group, path), _samples(groups, group, "service_days"))


def _eta_samples(groups: Groups, name: str) -> list[Sample]:
    """An attribute of the forecasts of all first pages; None values do not count."""
    values = [
        (outcome, getattr(eta, name)) for outcome in groups.cascades if outcome.verdict for eta in outcome.verdict.etas
    ]
    return [outcome.sample(value) for outcome, value in values if value is not None]


class Row(NamedTuple):
    """A figure, its estimator, and its bounds."""

    name: str
    unit: Unit
    estimator: Estimator
    bar: Bounds | None = None
    best: Bounds | None = None


# A page at the fault's onset would have the lead time `gap`: an upper bound for any detector.
FIGURE_ROWS = (
    Row("warned by onset + 5 min", "share", _mean("warnable", "pages.hit"), Bounds(0.90), Bounds(0.97)),
    Row("warned before onset", "share", _mean("warnable", "pages.early"), Bounds(0.80), Bounds(0.90)),
    Row(
        "retry storm: early warning before the trigger", "share", _mean("cascades", "storm"), Bounds(0.60), Bounds(0.80)
    ),
    Row("lead, median", "seconds", _quantile("warnable", "pages.lead_seconds", 0.5), Bounds(180), Bounds(300)),
    Row("lead, lower quartile", "seconds", _quantile("warnable", "pages.lead_seconds", 0.25), Bounds(60), Bounds(120)),
    Row("lead share, median", "share", _quantile("warnable", "lead_share", 0.5), Bounds(0.5)),
    Row("lead share, lower quartile", "share", _quantile("warnable", "lead_share", 0.25), Bounds(0.25)),
    Row(
        "pages per service-day, benign runs",
        "per day",
        _rate("benign", "pages.false_alarms"),
        Bounds(most=0.3),
        Bounds(most=0.1),
    ),
    Row("benign runs paged", "share", _mean("benign", "pages.any_false"), Bounds(most=0.10), Bounds(most=0.05)),
    Row("root cause top-1 at first page", "share", _mean("cascades", "verdict.top1"), Bounds(0.85), Bounds(0.92)),
    Row("root cause top-3 at first page", "share", _mean("cascades", "verdict.top3"), Bounds(0.95), Bounds(0.98)),
    Row(
        "noisy neighbor, affected service, and pool right",
        "share",
        _mean("cascades", "verdict.pair"),
        Bounds(0.80),
        Bounds(0.90),
    ),
    Row("first pages that state a cause", "share", _mean("cascades", "verdict.is_cause_stated")),
    Row("cause class right", "share", _mean("cascades", "verdict.right_cause"), Bounds(0.80), Bounds(0.90)),
    Row(
        "time to breach within p10–p90",
        "share",
        lambda groups, draws: draws.mean(_eta_samples(groups, "within_80")),
        Bounds(0.65, 0.95),
        Bounds(0.75, 0.85),
    ),
    Row("time to breach within p20–p80", "share", lambda groups, draws: draws.mean(_eta_samples(groups, "within_60"))),
    Row(
        "time to breach, median relative error",
        "share",
        lambda groups, draws: draws.quantile(_eta_samples(groups, "relative_error"), 0.5),
        Bounds(most=0.6),
        Bounds(most=0.35),
    ),
    Row("extent at first page, F1", "share", _mean("cascades", "verdict.extent")),
    Row("warned 2 min or more before onset", "share", _mean("warnable", "pages.useful")),
    Row("time from the fault to the onset, median", "seconds", _quantile("warnable", "gap", 0.5)),
    Row("time from the fault to the onset, lower quartile", "seconds", _quantile("warnable", "gap", 0.25)),
    Row("first page after the fault, median", "seconds", _quantile("cascades", "pages.delay_seconds", 0.5)),
    Row("early warning or page before onset", "share", _mean("warnable", "is_announced")),
    Row("the same, each run alike", "share", _mean_of_runs("warnable", "is_announced")),
    Row("early warnings per service-day, benign runs", "per day", _rate("benign", "early_warnings.false_alarms")),
    Row("false pages per service-day, all quiet time", "per day", _rate("scored", "pages.false_alarms")),
)
