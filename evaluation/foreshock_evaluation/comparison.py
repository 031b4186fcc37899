"""Comparison with baselines on the same runs: at equal false alarms, and over all thresholds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World
from foreshock_evaluation.baselines import DETECTORS, alarms
from foreshock_evaluation.ranking_baselines import RANKERS
from foreshock_evaluation.scores.outcome import Outcome, group_outcomes
from foreshock_evaluation.scores.protocol import DAY_SECONDS, DetectionScore, components, score_pages
from foreshock_evaluation.scores.ranking import Scores, hit_probability
from foreshock_evaluation.scores.resampling import Bootstrap, Estimate
from foreshock_evaluation.scores.truth import Expected, Truth

OURS, EARLY_WARNINGS = "foreshock, pages", "foreshock, early warnings"


class TopHits(NamedTuple):
    """Probability that a right root cause is first, and among the first three."""

    top1: float
    top3: float


@dataclass(frozen=True, slots=True)
class Entry:
    """Results of one run.

    root_causes: right root causes. lossy: our outcome with lost scrapes. others: scores of each baseline detector at
    each of its thresholds. rankings: of baselines at our first page. happens_without: whether the cascade happens
    without its root cause. None or empty where not evaluated.
    """

    ours: Outcome
    root_causes: frozenset[Service]
    lossy: Outcome | None = None
    others: Mapping[str, tuple[DetectionScore, ...]] = field(default_factory=dict)
    rankings: Mapping[str, TopHits] = field(default_factory=dict)
    happens_without: bool | None = None


def score_baselines(truth: Truth, expected: Expected, world: World) -> Mapping[str, tuple[DetectionScore, ...]]:
    """Scores of each baseline detector at each of its thresholds."""
    component = components(world)
    scores = {}
    for detector in DETECTORS:
        levels = detector.levels(world, expected.slos or {})
        scores[detector.name] = tuple(
            score_pages(truth, expected, alarms(world, levels, threshold, detector.persist), component)
            for threshold in detector.thresholds
        )
    return scores


def rank_by_baselines(expected: Expected, world: World, time: float, victim: Service) -> Mapping[str, TopHits]:
    """Hits of each baseline ranking at a time (Unix seconds)."""
    point = int((world.times <= time).sum()) - 1
    return {name: _top_hits(ranker(world, point, victim), expected.root_causes) for name, ranker in RANKERS.items()}


class OperatingPoint(NamedTuple):
    """A detector at one threshold: false alarms per service-day, shares of cascades detected, lead time in seconds.

    ahead: paired difference of our share of early detections and the detector's.
    """

    detector: str
    threshold: float
    default: bool
    false: Estimate
    warned: Estimate
    early: Estimate
    lead: Estimate
    ahead: Estimate


def curve(entries: Sequence[Entry], instant: frozenset[str], draws: Bootstrap) -> tuple[OperatingPoint, ...]:
    """Each detector at each threshold, ours first."""
    scored = [entry for entry in entries if entry.ours.scored and entry.others]
    if not scored:
        return ()
    outcomes = [entry.ours for entry in scored]
    can_be_warned = {outcome.run for outcome in group_outcomes(outcomes, instant).warnable}

    def point(name: str, threshold: float, default: bool, scores: Sequence[DetectionScore]) -> OperatingPoint:
        pairs = list(zip(outcomes, scores, strict=True))
        warnable = [(outcome, score) for outcome, score in pairs if outcome.run in can_be_warned]
        return OperatingPoint(
            name,
            threshold,
            default,
            draws.ratio(
                [outcome.sample(score.false_alarms) for outcome, score in pairs],
                [outcome.sample(outcome.services * score.quiet_seconds / DAY_SECONDS) for outcome, score in pairs],
            ),
            draws.mean([outcome.sample(score.hit) for outcome, score in warnable]),
            draws.mean([outcome.sample(score.early) for outcome, score in warnable]),
            draws.quantile([outcome.sample(score.lead_seconds) for outcome, score in warnable], 0.5),
            draws.mean([outcome.sample(outcome.pages.early - score.early) for outcome, score in warnable]),
        )

    return (
        point(OURS, math.nan, True, [outcome.pages for outcome in outcomes]),
        point(EARLY_WARNINGS, math.nan, False, [outcome.early_warnings for outcome in outcomes]),
        *(
            point(name, threshold, threshold == default, [entry.others[name][i] for entry in scored])
            for name, _, default, thresholds, _ in DETECTORS
            for i, threshold in enumerate(thresholds)
        ),
    )


def at_equal_false_alarms(points: Sequence[OperatingPoint]) -> tuple[OperatingPoint, ...]:
    """Ours, and each baseline at the threshold with the most early detections at no more false alarms than ours.

    Where all of its thresholds have more false alarms, the one with the fewest.
    """
    ours = points[0]
    best = [ours]
    for name in dict.fromkeys(point.detector for point in points[2:]):
        own = [point for point in points if point.detector == name]
        quiet = [point for point in own if point.false.value <= ours.false.value]
        if quiet:
            best.append(max(quiet, key=lambda point: (point.early.value, point.warned.value, -point.false.value)))
        else:
            best.append(min(own, key=lambda point: (point.false.value, -point.early.value, -point.warned.value)))
    return tuple(best)


class RankingRow(NamedTuple):
    """Top-1 and top-3 hit rates of a ranking."""

    name: str
    top1: Estimate
    top3: Estimate


def ranking_rows(entries: Sequence[Entry], draws: Bootstrap) -> tuple[RankingRow, ...]:
    """Ours, the baselines, and a constant ranking: the root causes that are most frequent in this suite."""
    judged = [(entry, entry.ours.verdict) for entry in entries if entry.ours.scored and entry.ours.verdict]
    frequent = Counter(service for entry, _ in judged for service in sorted(entry.root_causes)).most_common(3)
    constant = {service: 1.0 / (1 + i) for i, (service, _) in enumerate(frequent)}

    def row(name: str, hits: Sequence[TopHits]) -> RankingRow:
        pairs = [(entry.ours, hit) for (entry, _), hit in zip(judged, hits, strict=True)]
        top1, top3 = (draws.mean([ours.sample(hit[i]) for ours, hit in pairs]) for i in range(2))
        return RankingRow(name, top1, top3)

    return (
        row("foreshock", [TopHits(verdict.top1, verdict.top3) for _, verdict in judged]),
        *(
            row(name, [entry.rankings[name] for entry, _ in judged])
            for name in dict.fromkeys(name for entry, _ in judged for name in entry.rankings)
        ),
        row("constant", [_top_hits(constant, entry.root_causes) for entry, _ in judged]),
    )


def _top_hits(scores: Scores, right: frozenset[Service]) -> TopHits:
    return TopHits(hit_probability(scores, right, 1), hit_probability(scores, right, 3))
