"""The analysis beside simpler detectors on the same runs: at equal false alarms, and over all thresholds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from foreshock_dashboard.evaluation.baselines import DETECTORS, SloTargets, alarms
from foreshock_dashboard.evaluation.outcome import Outcome
from foreshock_dashboard.evaluation.protocol import DAY_SECONDS, DetectionScore, components, score_pages
from foreshock_dashboard.evaluation.ranking_baselines import RANKERS, Scores, hit_probability
from foreshock_dashboard.evaluation.resampling import Bootstrap, Estimate, Sample
from foreshock_dashboard.evaluation.truth import Expected, Truth
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World

OURS, ADVISORIES = "foreshock, pages", "foreshock, advisories"


class TopHits(NamedTuple):
    """The chance that a right culprit is the first that is named, and among the first three."""

    top1: float
    top3: float


@dataclass(frozen=True, slots=True)
class Entry:
    """One run: what came of ours, and what others' alarms at each of their thresholds were worth.

    culprits: that are right. lossy: ours on the same recording with scrapes missing; None where it was not tried.
    others: by detector; empty where they were not asked. rankings: of others, asked at our first page; empty without.
    happens_without: whether the cascade happens as well without its culprit; None where that was not tried.
    """

    ours: Outcome
    culprits: frozenset[Service]
    lossy: Outcome | None = None
    others: Mapping[str, tuple[DetectionScore, ...]] = field(default_factory=dict)
    rankings: Mapping[str, TopHits] = field(default_factory=dict)
    happens_without: bool | None = None


def score_baselines(truth: Truth, expected: Expected, world: World) -> Mapping[str, tuple[DetectionScore, ...]]:
    """What every other detector's alarms are worth, at each of its thresholds."""
    component = components(world)
    objectives: SloTargets = expected.objectives or {}
    found = {}
    for detector in DETECTORS:
        levels = detector.levels(world, objectives)
        found[detector.name] = tuple(
            score_pages(truth, expected, alarms(world, levels, threshold, detector.persist), component)
            for threshold in detector.thresholds
        )
    return found


def rank_by_baselines(expected: Expected, world: World, time: float, victim: Service) -> Mapping[str, TopHits]:
    """How often every other ranking has a right culprit in front, asked at a time (Unix seconds)."""
    at = int((world.times <= time).sum()) - 1
    scores = {name: ranker(world, at, victim) for name, ranker in RANKERS.items()}
    return {name: _ranked(found, expected.culprits) for name, found in scores.items()}


class OperatingPoint(NamedTuple):
    """A detector at one threshold: pages per service-day for nothing, shares of cascades warned of, lead in seconds.

    ahead: by how much ours warns before onset more often, paired.
    """

    detector: str
    threshold: float
    usual: bool
    false: Estimate
    warned: Estimate
    early: Estimate
    lead: Estimate
    ahead: Estimate


def curve(entries: Sequence[Entry], instant: frozenset[str], draws: Bootstrap) -> tuple[OperatingPoint, ...]:
    """Every detector at every threshold, ours first."""
    scored = [entry for entry in entries if entry.ours.scored and entry.others]
    if not scored:
        return ()

    def point(name: str, threshold: float, usual: bool, said: Sequence[DetectionScore]) -> OperatingPoint:
        pairs = list(zip(scored, said, strict=True))
        warnable = [
            (each.ours, found) for each, found in pairs if each.ours.expected and each.ours.run.scenario not in instant
        ]
        days = [_sample(each.ours, each.ours.services * found.quiet_seconds / DAY_SECONDS) for each, found in pairs]
        return OperatingPoint(
            name,
            threshold,
            usual,
            draws.ratio([_sample(each.ours, found.false_alarms) for each, found in pairs], days),
            draws.mean([_sample(ours, found.hit) for ours, found in warnable]),
            draws.mean([_sample(ours, found.early) for ours, found in warnable]),
            draws.quantile([_sample(ours, found.lead_seconds) for ours, found in warnable], 0.5),
            draws.mean([_sample(ours, ours.pages.early - found.early) for ours, found in warnable]),
        )

    points = [
        point(OURS, math.nan, True, [each.ours.pages for each in scored]),
        point(ADVISORIES, math.nan, False, [each.ours.advisories for each in scored]),
    ]
    for detector in DETECTORS:
        for i, threshold in enumerate(detector.thresholds):
            said = [each.others[detector.name][i] for each in scored]
            points.append(point(detector.name, threshold, threshold == detector.usual, said))
    return tuple(points)


def at_equal_false_alarms(points: Sequence[OperatingPoint]) -> tuple[OperatingPoint, ...]:
    """Ours, and of each other detector the point that warns early most often with no more false pages than ours.

    Where all of its thresholds page more often, the one that does so least.
    """
    ours = points[0]
    best = [ours]
    for name in dict.fromkeys(point.detector for point in points[2:]):
        mine = [point for point in points if point.detector == name]
        quiet = [point for point in mine if point.false.value <= ours.false.value]
        if quiet:
            best.append(max(quiet, key=lambda point: (point.early.value, point.warned.value, -point.false.value)))
        else:
            best.append(min(mine, key=lambda point: (point.false.value, -point.early.value, -point.warned.value)))
    return tuple(best)


class RankingRow(NamedTuple):
    """How often a ranking has a right culprit in front."""

    name: str
    top1: Estimate
    top3: Estimate


def ranking_rows(entries: Sequence[Entry], draws: Bootstrap) -> tuple[RankingRow, ...]:
    """Ours, every other ranking, and a constant answer: the culprits that are right most often in this suite."""
    told = [(entry, entry.ours.verdict) for entry in entries if entry.ours.scored and entry.ours.verdict]
    usual = [who for who, _ in Counter(who for entry, _ in told for who in sorted(entry.culprits)).most_common(3)]
    names = list(dict.fromkeys(name for entry, _ in told for name in entry.rankings))
    constant: Scores = {who: 1.0 / (1 + i) for i, who in enumerate(usual)}

    def row(name: str, found: Sequence[TopHits]) -> RankingRow:
        pairs = [(entry.ours, each) for (entry, _), each in zip(told, found, strict=True)]
        firsts = [_sample(ours, each.top1) for ours, each in pairs]
        return RankingRow(name, draws.mean(firsts), draws.mean([_sample(ours, each.top3) for ours, each in pairs]))

    return (
        row("foreshock", [TopHits(verdict.top1, verdict.top3) for _, verdict in told if verdict]),
        *(row(name, [entry.rankings[name] for entry, _ in told]) for name in names),
        row("constant", [_ranked(constant, entry.culprits) for entry, _ in told]),
    )


def _ranked(scores: Scores, right: frozenset[Service]) -> TopHits:
    return TopHits(hit_probability(scores, right, 1), hit_probability(scores, right, 3))


def _sample(outcome: Outcome, value: float) -> Sample:
    return Sample(outcome.run.scenario, outcome.run.seed, float(value))
