"""Evaluation of a suite: figures, scenarios, comparison with baselines, and JSON (see docs/internals/evaluation.md)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import orjson

from foreshock_dashboard.model.types import Json
from foreshock_evaluation.comparison import (
    Entry,
    OperatingPoint,
    RankingRow,
    at_equal_false_alarms,
    curve,
    ranking_rows,
)
from foreshock_evaluation.figures import Bounds, Figure, figures
from foreshock_evaluation.scores.by_class import ClassRow, class_rows
from foreshock_evaluation.scores.outcome import Groups, Outcome, ScenarioRow, group_outcomes, scenario_rows
from foreshock_evaluation.scores.resampling import Bootstrap, Estimate


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Results of a suite.

    runs: all outcomes, cascades first. equal: detectors at as many false alarms as ours. curve: at every threshold.
    failed: runs that could not be replayed, with the error. classes: a row for each class of scenarios, if any.
    """

    title: str
    figures: tuple[Figure, ...]
    scenarios: tuple[ScenarioRow, ...]
    equal: tuple[OperatingPoint, ...]
    curve: tuple[OperatingPoint, ...]
    ranked: tuple[RankingRow, ...]
    runs: tuple[Outcome, ...]
    failed: tuple[tuple[str, str], ...]
    classes: tuple[ClassRow, ...] = ()

    @property
    def unscored(self) -> tuple[Outcome, ...]:
        """Runs that contradict their scenario: cascades that did not happen, or happened where none was expected."""
        return tuple(outcome for outcome in self.runs if not outcome.scored)


def summarize(
    title: str,
    entries: Sequence[Entry],
    instant: frozenset[str],
    day: Outcome | None = None,
    failed: Sequence[tuple[str, str]] = (),
    classes: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Evaluation:
    """Summarize the runs.

    instant: scenarios that no detector can warn of in time. day: the long run without faults. classes: scenarios of
    each class.
    """
    entries = sorted(entries, key=lambda entry: (not entry.ours.expects_cascade, entry.ours.run))
    outcomes = tuple(entry.ours for entry in entries)
    groups = group_outcomes(outcomes, instant)
    draws = Bootstrap((outcome.run.scenario, outcome.run.seed) for outcome in outcomes)
    points = curve(entries, instant, draws)
    rows = [*figures(groups, draws), *_lost_with_scrapes(entries, groups, draws), *_caused(entries, draws)]
    rows = [row.bounded_by_evidence for row in rows]
    if day is not None:
        name = f"pages in {(day.run.duration or math.nan) / 3600:g} h without faults, {day.services} services"
        rows.append(Figure(name, "pages", Estimate(float(day.pages.false_alarms), runs=1), Bounds(most=2)))
    return Evaluation(
        title,
        tuple(rows),
        scenario_rows(groups),
        at_equal_false_alarms(points) if points else (),
        points,
        ranking_rows(entries, draws) if any(entry.rankings for entry in entries) else (),
        outcomes,
        tuple(failed),
        class_rows(groups, classes),
    )


def _lost_with_scrapes(entries: Sequence[Entry], groups: Groups, draws: Bootstrap) -> list[Figure]:
    """Percentage points lost with lost scrapes: the larger loss of detections and early detections."""
    pairs = [(entry.ours, entry.lossy) for entry in entries if entry.lossy and entry.ours in groups.warnable]
    if not pairs:
        return []
    hits = draws.mean([ours.sample(100.0 * (ours.pages.hit - lossy.pages.hit)) for ours, lossy in pairs])
    early = draws.mean([ours.sample(100.0 * (ours.pages.early - lossy.pages.early)) for ours, lossy in pairs])
    worse = max(hits, early, key=lambda loss: loss.value)
    return [Figure("lost with 10% of scrapes missing", "points", worse, Bounds(most=6), Bounds(most=3))]


def _caused(entries: Sequence[Entry], draws: Bootstrap) -> list[Figure]:
    """Share of cascades that do not happen without their root cause."""
    samples = [
        entry.ours.sample(not entry.happens_without)
        for entry in entries
        if entry.happens_without is not None and entry.ours.scored
    ]
    name = "cascades that do not happen without their root cause"
    return [Figure(name, "share", draws.mean(samples), Bounds(1.0))] if samples else []


VERSION = 1


def dump_json(evaluation: Evaluation) -> bytes:
    """JSON of an evaluation; named tuples are objects, unknown and infinite numbers null."""
    content = {
        "version": VERSION,
        "title": evaluation.title,
        "figures": [
            {
                "name": figure.name,
                "unit": figure.unit,
                **figure.estimate._asdict(),
                "bar": figure.bar,
                "world_class": figure.best,
                "standing": figure.standing,
            }
            for figure in evaluation.figures
        ],
        "classes": evaluation.classes,
        "scenarios": evaluation.scenarios,
        "equal_false_alarms": evaluation.equal,
        "curve": evaluation.curve,
        "rankings": evaluation.ranked,
        "runs": [_run(outcome) for outcome in evaluation.runs],
        "failed": [{"run": name, "error": error} for name, error in evaluation.failed],
    }
    return orjson.dumps(content, default=lambda value: value._asdict(), option=orjson.OPT_INDENT_2)


def _run(outcome: Outcome) -> Json:
    pages = outcome.pages
    return {
        "run": outcome.run.name,
        "scored": outcome.scored,
        "cascade": outcome.expects_cascade,
        "cascade_after_seconds": outcome.gap,
        "page_after_seconds": pages.delay_seconds,
        "lead_seconds": pages.lead_seconds,
        "false_pages": pages.false_alarms,
        "service_days": outcome.service_days,
        "early_warning_after_seconds": outcome.early_warnings.delay_seconds,
        "false_early_warnings": outcome.early_warnings.false_alarms,
        "storm_foreseen": outcome.storm,
        "first_page": outcome.verdict,
    }
