"""The table of an evaluation: what the analysis must reach, and how each figure is taken from the outcomes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from foreshock_dashboard.evaluation.outcome import Groups, Outcome
from foreshock_dashboard.evaluation.resampling import Bootstrap, Estimate, Sample
from foreshock_dashboard.evaluation.verdict import Eta, Verdict

ROUNDING = 1e-9
"""Of a mean that is just what is asked: weighted, eight of eighty are a little more than a tenth."""

Unit = Literal["share", "seconds", "per day", "points", "pages"]
Estimator = Callable[[Groups, Bootstrap], Estimate]


class Bounds(NamedTuple):
    """What is asked of a figure; infinite where there is no bound on that side."""

    least: float = -math.inf
    most: float = math.inf

    def met(self, value: float) -> bool:
        """Whether the figure lies within."""
        return self.least - ROUNDING <= value <= self.most + ROUNDING


@dataclass(frozen=True, slots=True)
class Figure:
    """A row of the table.

    bar and best: what is asked at least, and what is world-class; None where nothing is asked.
    """

    name: str
    unit: Unit
    estimate: Estimate
    bar: Bounds | None = None
    best: Bounds | None = None

    @property
    def standing(self) -> str:
        """`world-class`, `met`, `missed`; empty where nothing is asked or nothing is known."""
        if self.bar is None or math.isnan(self.estimate.value):
            return ""
        if self.best is not None and self.best.met(self.estimate.value):
            return "world-class"
        return "met" if self.bar.met(self.estimate.value) else "missed"


def figures(groups: Groups, draws: Bootstrap) -> tuple[Figure, ...]:
    """The figures of one pass over the recordings, in the order of the table."""
    return tuple(Figure(name, unit, take(groups, draws), bar, best) for name, unit, take, bar, best in FIGURE_ROWS)


def sample(outcome: Outcome, value: float) -> Sample:
    """A figure of the run."""
    return Sample(outcome.run.scenario, outcome.run.seed, float(value))


def _warned(what: Callable[[Outcome], float]) -> Estimator:
    """Mean over cascades that leave time to warn."""
    return lambda groups, draws: draws.mean([sample(each, what(each)) for each in groups.warnable])


def _lead(q: float) -> Estimator:
    return lambda groups, draws: draws.quantile([sample(each, each.pages.lead_seconds) for each in groups.warnable], q)


def _room(q: float) -> Estimator:
    """What the lead would be if somebody were called the moment that the fault begins: no detector can do better."""

    def take(groups: Groups, draws: Bootstrap) -> Estimate:
        return draws.quantile([sample(each, each.gap) for each in groups.warnable if each.gap is not None], q)

    return take


def _told(what: Callable[[Verdict], float | None]) -> Estimator:
    """Mean over the first pages of cascades; those that the figure is not about do not count."""

    def take(groups: Groups, draws: Bootstrap) -> Estimate:
        told = [(each, what(each.verdict)) for each in groups.cascades if each.verdict]
        return draws.mean([sample(each, value) for each, value in told if value is not None])

    return take


def _rate(of: Callable[[Groups], Sequence[Outcome]], what: Callable[[Outcome], float]) -> Estimator:
    """How many per service-day in which there was no reason."""

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
    told = [(each, eta) for each, eta in _etas(groups) if not math.isnan(eta.p10)]
    return draws.mean([sample(each, eta.p10 <= eta.actual <= eta.p90) for each, eta in told])


def _within_60(groups: Groups, draws: Bootstrap) -> Estimate:
    return draws.mean([sample(each, eta.p20 <= eta.actual <= eta.p80) for each, eta in _etas(groups)])


def _eta_error(groups: Groups, draws: Bootstrap) -> Estimate:
    """|told − actual| / actual of the median; what is said never to come is infinitely wrong."""
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
    """A figure, how it is taken, and what is asked of it."""

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
    Row("culprit top-1 at first page", "share", _told(lambda said: said.top1), Bounds(0.85), Bounds(0.92)),
    Row("culprit top-3 at first page", "share", _told(lambda said: said.top3), Bounds(0.95), Bounds(0.98)),
    Row("aggressor, victim and pool right", "share", _told(lambda said: said.pair), Bounds(0.80), Bounds(0.90)),
    Row("cause class right", "share", _told(lambda said: said.right_cause), Bounds(0.80), Bounds(0.90)),
    Row("time to breach within p10–p90", "share", _within_80, Bounds(0.65, 0.95), Bounds(0.75, 0.85)),
    Row("time to breach within p20–p80", "share", _within_60),
    Row("time to breach, median relative error", "share", _eta_error, Bounds(most=0.6), Bounds(most=0.35)),
    Row("extent at first page, F1", "share", _told(lambda said: said.extent)),
    Row("warned 2 min or more before onset", "share", _warned(lambda run: run.pages.useful)),
    Row("time from the fault to the onset, median", "seconds", _room(0.5)),
    Row("time from the fault to the onset, lower quartile", "seconds", _room(0.25)),
    Row("first page after the fault, median", "seconds", _delay),
    Row("advised before onset, pages or not", "share", _warned(lambda run: run.advisories.early)),
    Row("advisories per service-day, benign runs", "per day", _rate(_benign, lambda run: run.advisories.false_alarms)),
    Row("false pages per service-day, all quiet time", "per day", _rate(_all, lambda run: run.pages.false_alarms)),
)
