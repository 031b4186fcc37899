"""Evaluation of a suite: figures, scenarios, comparison with baselines, and its JSON (see docs/evaluation.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from foreshock_dashboard.model.types import Json
from foreshock_evaluation.comparison import (
    Entry,
    OperatingPoint,
    RankingRow,
    at_equal_false_alarms,
    curve,
    ranking_rows,
)
from foreshock_evaluation.figures import Bounds, Figure, figures, sample
from foreshock_evaluation.outcome import Groups, Outcome, ScenarioRow, group_outcomes, scenario_rows
from foreshock_evaluation.resampling import Bootstrap, Estimate


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Results of a suite.

    runs: all outcomes, cascades first. equal: detectors at as many false alarms as ours. curve: at every threshold.
    failed: runs that could not be replayed, with the error.
    """

    title: str
    figures: tuple[Figure, ...]
    scenarios: tuple[ScenarioRow, ...]
    equal: tuple[OperatingPoint, ...]
    curve: tuple[OperatingPoint, ...]
    ranked: tuple[RankingRow, ...]
    runs: tuple[Outcome, ...]
    failed: tuple[tuple[str, str], ...]

    @property
    def unscored(self) -> tuple[Outcome, ...]:
        """Runs that contradict their scenario: cascades that did not happen, or happened where none was expected."""
        return tuple(each for each in self.runs if not each.scored)


def summarize(
    title: str,
    entries: Sequence[Entry],
    instant: frozenset[str],
    day: Outcome | None = None,
    failed: Sequence[tuple[str, str]] = (),
) -> Evaluation:
    """Summarize the runs. instant: scenarios that no detector can warn of in time. day: the long calm run."""
    entries = sorted(entries, key=lambda entry: (not entry.ours.expected, entry.ours.run))
    runs = [entry.ours for entry in entries]
    groups = group_outcomes(runs, instant)
    draws = Bootstrap([(each.run.scenario, each.run.seed) for each in runs])
    points = curve(entries, instant, draws)
    rows = [*figures(groups, draws), *_lost_with_scrapes(entries, groups, draws), *_caused(entries, draws)]
    if day is not None:
        pages = Estimate(float(day.pages.false_alarms), runs=1)
        rows.append(
            Figure(f"pages in {_hours(day)} h of calm, {day.services} services", "pages", pages, Bounds(most=2))
        )
    return Evaluation(
        title,
        tuple(rows),
        scenario_rows(groups),
        at_equal_false_alarms(points) if points else (),
        points,
        ranking_rows(entries, draws) if any(entry.rankings for entry in entries) else (),
        tuple(runs),
        tuple(failed),
    )


def _lost_with_scrapes(entries: Sequence[Entry], groups: Groups, draws: Bootstrap) -> list[Figure]:
    """Percentage points lost with lost scrapes: the larger loss of detections and early detections."""
    counted = set(groups.warnable)
    pairs = [(entry.ours, entry.lossy) for entry in entries if entry.lossy and entry.ours in counted]
    if not pairs:
        return []
    late = draws.mean([sample(ours, 100.0 * (ours.pages.hit - lossy.pages.hit)) for ours, lossy in pairs])
    early = draws.mean([sample(ours, 100.0 * (ours.pages.early - lossy.pages.early)) for ours, lossy in pairs])
    worse = max(late, early, key=lambda each: each.value)
    return [Figure("lost with 10 % of scrapes missing", "points", worse, Bounds(most=6), Bounds(most=3))]


def _caused(entries: Sequence[Entry], draws: Bootstrap) -> list[Figure]:
    """Share of cascades that do not happen without their root cause."""
    tried = [each for each in entries if each.happens_without is not None and each.ours.scored]
    known = [sample(each.ours, not each.happens_without) for each in tried]
    if not known:
        return []
    return [Figure("cascades that do not happen without their culprit", "share", draws.mean(known), Bounds(1.0))]


def _hours(day: Outcome) -> str:
    return f"{(day.run.duration or math.nan) / 3600:g}"


VERSION = 1


def as_json(evaluation: Evaluation) -> Json:
    """JSON of an evaluation; unknown and non-finite values are null."""
    return {
        "version": VERSION,
        "title": evaluation.title,
        "figures": [_figure(each) for each in evaluation.figures],
        "scenarios": [plain_value(each) for each in evaluation.scenarios],
        "equal_false_alarms": [plain_value(each) for each in evaluation.equal],
        "curve": [plain_value(each) for each in evaluation.curve],
        "rankings": [plain_value(each) for each in evaluation.ranked],
        "runs": [_run(each) for each in evaluation.runs],
        "failed": [{"run": name, "error": error} for name, error in evaluation.failed],
    }


def _figure(figure: Figure) -> Json:
    return {
        "name": figure.name,
        "unit": figure.unit,
        **plain_value(figure.estimate),
        "bar": _bounds(figure.bar),
        "world_class": _bounds(figure.best),
        "standing": figure.standing,
    }


def _bounds(bounds: Bounds | None) -> Json | None:
    return None if bounds is None else plain_value(bounds)


def _run(outcome: Outcome) -> Json:
    pages = outcome.pages
    return {
        "run": outcome.run.name,
        "scored": outcome.scored,
        "cascade": outcome.expected,
        "cascade_after_seconds": outcome.gap,
        "page_after_seconds": pages.delay_seconds,
        "lead_seconds": pages.lead_seconds,
        "false_pages": pages.false_alarms,
        "service_days": outcome.service_days,
        "advisory_after_seconds": outcome.advisories.delay_seconds,
        "false_advisories": outcome.advisories.false_alarms,
        "storm_foreseen": outcome.storm,
        "first_page": plain_value(outcome.verdict),
    }


def plain_value(value: Any) -> Any:  # noqa: ANN401 - what these values are made of
    """JSON value: named tuples and dataclasses as objects, non-finite numbers as null."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain_value(each) for name, each in value._asdict().items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {name: plain_value(each) for name, each in asdict(value).items()}
    if isinstance(value, tuple | list):
        return [plain_value(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
