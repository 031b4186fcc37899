"""All that an evaluation says: figures, scenarios, the contest with other detectors, and what could not be scored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from foreshock_dashboard.evaluation.contest import (
    Entry,
    Point,
    RankedRow,
    at_equal_false_alarms,
    curve,
    ranked,
)
from foreshock_dashboard.evaluation.figures import Bounds, Figure, figures, sample
from foreshock_dashboard.evaluation.groups import Groups, ScenarioRow, by_scenario, grouped
from foreshock_dashboard.evaluation.outcome import Outcome
from foreshock_dashboard.evaluation.resampling import Estimate, Resampling


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of a suite.

    title: which. runs: every outcome, cascades first. equal: detectors at as many false pages as ours has. curve: at
    every threshold. failed: runs that could not be played, with the reason.
    """

    title: str
    figures: tuple[Figure, ...]
    scenarios: tuple[ScenarioRow, ...]
    equal: tuple[Point, ...]
    curve: tuple[Point, ...]
    ranked: tuple[RankedRow, ...]
    runs: tuple[Outcome, ...]
    failed: tuple[tuple[str, str], ...]

    @property
    def unscored(self) -> tuple[Outcome, ...]:
        """Those that went otherwise than their scenario means: cascades that did not happen, or did where none was."""
        return tuple(each for each in self.runs if not each.scored)


def evaluation(
    title: str,
    entries: Sequence[Entry],
    instant: frozenset[str],
    day: Outcome | None = None,
    failed: Sequence[tuple[str, str]] = (),
) -> Evaluation:
    """Put everything together. `instant`: scenarios that no detector can warn of in time; `day`: the long calm run."""
    entries = sorted(entries, key=lambda entry: (not entry.ours.expected, entry.ours.run))
    runs = [entry.ours for entry in entries]
    groups = grouped(runs, instant)
    draws = Resampling([(each.run.scenario, each.run.seed) for each in runs])
    points = curve(entries, instant, draws)
    rows = [*figures(groups, draws), *_lost(entries, groups, draws), *_because(entries, draws)]
    if day is not None:
        pages = Estimate(float(day.pages.false), runs=1)
        rows.append(
            Figure(f"pages in {_hours(day)} h of calm, {day.services} services", "pages", pages, Bounds(most=2))
        )
    return Evaluation(
        title,
        tuple(rows),
        by_scenario(groups),
        at_equal_false_alarms(points) if points else (),
        points,
        ranked(entries, draws) if any(entry.rankings for entry in entries) else (),
        tuple(runs),
        tuple(failed),
    )


def _lost(entries: Sequence[Entry], groups: Groups, draws: Resampling) -> list[Figure]:
    """Points of 100 that are lost with scrapes missing: the worse of warned, and warned before onset."""
    counted = set(groups.warnable)
    pairs = [(entry.ours, entry.lossy) for entry in entries if entry.lossy and entry.ours in counted]
    if not pairs:
        return []
    late = draws.mean([sample(ours, 100.0 * (ours.pages.hit - lossy.pages.hit)) for ours, lossy in pairs])
    early = draws.mean([sample(ours, 100.0 * (ours.pages.early - lossy.pages.early)) for ours, lossy in pairs])
    worse = max(late, early, key=lambda each: each.value)
    return [Figure("lost with 10 % of scrapes missing", "points", worse, Bounds(most=6), Bounds(most=3))]


def _because(entries: Sequence[Entry], draws: Resampling) -> list[Figure]:
    """Cascades that do not happen without their culprit."""
    tried = [each for each in entries if each.happens_without is not None and each.ours.scored]
    known = [sample(each.ours, not each.happens_without) for each in tried]
    if not known:
        return []
    return [Figure("cascades that do not happen without their culprit", "share", draws.mean(known), Bounds(1.0))]


def _hours(day: Outcome) -> str:
    return f"{(day.run.duration or math.nan) / 3600:g}"
