"""Outcome of the analysis on one recording, outcomes by group, and a summary row per scenario."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from foreshock_dashboard.model.incident import Severity
from foreshock_dashboard.model.world import World
from foreshock_evaluation.scores.protocol import (
    DAY_SECONDS,
    DetectionScore,
    components,
    happened_as_expected,
    is_contained,
    score_pages,
)
from foreshock_evaluation.scores.resampling import Sample
from foreshock_evaluation.scores.truth import Expected, Truth
from foreshock_evaluation.scores.verdict import (
    ALL_SEVERITIES,
    PAGING,
    History,
    Verdict,
    first_hit,
    first_open,
    forecast_retry_storm,
    judge_first_page,
)
from foreshock_simulator.scenarios import drawn

_NAME = re.compile(r"(?P<size>[a-z]+)-(?P<seed>[0-9]+)-(?P<scenario>.+?)(-(?P<hours>[0-9.]+)h)?")


class Run(NamedTuple):
    """A scenario on a platform of a size, generated from a seed.

    duration: seconds; None: that of the scenario. strength: of a fault of the laboratory, from 1; 0 of a simulation.
    """

    scenario: str
    size: str
    seed: int
    duration: float | None = None
    strength: int = 0

    @property
    def name(self) -> str:
        """`small-11-outage`, `medium-101-calm-24h`: the name of its recording's folder."""
        hours = f"-{self.duration / 3600:g}h" if self.duration else ""
        strength = f"-{self.strength}" if self.strength else ""
        return f"{self.size}-{self.seed}-{self.scenario}{strength}{hours}"

    @classmethod
    def parse(cls, name: str) -> Run:
        """Read the name of a folder.

        Raises:
            ValueError: it is not of the form SIZE-SEED-SCENARIO.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError(f"{name!r} is not of the form SIZE-SEED-SCENARIO")
        hours = match["hours"]
        return cls(match["scenario"], match["size"], int(match["seed"]), float(hours) * 3600.0 if hours else None)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one run.

    scored: whether the cascade happened as expected. expects_cascade: by the scenario. contained: only the origin
    breached its SLO, where the scenario leaves a cascade to the run. cause: true cause class, "" without one. gap:
    seconds from the fault to the cascade; None without one. services: number with requests. pages, early_warnings:
    detection scores; a page counts as an early warning from its opening. verdict: on the first hit. storm: whether an
    early warning of a retry storm was open at the onset; None for other causes.
    """

    run: Run
    scored: bool
    expects_cascade: bool
    cause: str
    gap: float | None
    services: int
    pages: DetectionScore
    early_warnings: DetectionScore
    verdict: Verdict | None
    storm: bool | None
    contained: bool = False

    @property
    def service_days(self) -> float:
        """Service-days in which a page would be a false alarm."""
        return self.services * self.pages.quiet_seconds / DAY_SECONDS

    @property
    def is_announced(self) -> bool:
        """Whether an early warning or a page came before the cascade; an incident open since before may page then."""
        return self.pages.early or self.early_warnings.early

    @property
    def lead_share(self) -> float | None:
        """Lead time over the time from the fault to the cascade, 0 to 1; None without a time between them."""
        return self.pages.lead_seconds / self.gap if self.gap else None

    def sample(self, value: float) -> Sample:
        """A value of this run for the bootstrap."""
        return Sample(self.run.scenario, self.run.seed, float(value))


def outcome_of(run: Run, truth: Truth, expected: Expected, world: World, history: History) -> Outcome:
    """Score the incidents of a replayed recording."""
    component = components(world)

    def score(severities: Sequence[Severity]) -> DetectionScore:
        return score_pages(truth, expected, (item.page for item in first_open(history, severities)), component)

    pages = score(PAGING)
    first = first_hit(history, pages)
    return Outcome(
        run=run,
        scored=happened_as_expected(truth, expected),
        expects_cascade=truth.cascaded if expected.cascade is None else expected.cascade,
        cause=truth.cause,
        gap=truth.cascade_onset - truth.onset if truth.cascaded and truth.onset is not None else None,
        services=int((world.red.rate > 0).any(axis=1).sum()),
        pages=pages,
        early_warnings=score(ALL_SEVERITIES),
        verdict=judge_first_page(truth, expected, first) if first else None,
        storm=forecast_retry_storm(truth, history) if truth.cause == "retry_storm" else None,
        contained=is_contained(truth, expected),
    )


class Groups(NamedTuple):
    """Scored outcomes by group.

    warnable: cascades that leave time for a warning. benign: runs in which a page would be false. contained: runs in
    which only the origin breached its SLO.
    """

    cascades: tuple[Outcome, ...]
    warnable: tuple[Outcome, ...]
    benign: tuple[Outcome, ...]
    contained: tuple[Outcome, ...] = ()

    @property
    def scored(self) -> tuple[Outcome, ...]:
        """All scored outcomes, cascades first."""
        return (*self.cascades, *self.contained, *self.benign)


MIN_GAP_SECONDS = 120.0
"""A random cascade that begins sooner after its fault leaves no time for a warning."""


def group_outcomes(outcomes: Sequence[Outcome], instant: frozenset[str]) -> Groups:
    """Group outcomes. instant: scenarios that no detector can warn of in time."""
    scored = [outcome for outcome in outcomes if outcome.scored]
    cascades = tuple(outcome for outcome in scored if outcome.expects_cascade)
    warnable = tuple(
        outcome
        for outcome in cascades
        if outcome.run.scenario not in instant
        and (outcome.run.scenario != drawn.NAME or (outcome.gap or 0.0) >= MIN_GAP_SECONDS)
    )
    others = [outcome for outcome in scored if not outcome.expects_cascade]
    benign = tuple(outcome for outcome in others if not outcome.contained)
    return Groups(cascades, warnable, benign, tuple(outcome for outcome in others if outcome.contained))


class ScenarioRow(NamedTuple):
    """Summary of the runs of one scenario; seconds are medians.

    gap: from the fault to the cascade. warned, early, early_warnings: number of runs. delay: from the fault to the
    first page. causes, root_causes: of first pages, with their counts.
    """

    scenario: str
    runs: int
    cascade: bool
    gap: float
    warned: int
    early: int
    lead: float
    delay: float
    early_warnings: int
    false: int
    causes: tuple[tuple[str, int], ...]
    root_causes: tuple[tuple[str, int], ...]


def scenario_rows(groups: Groups) -> tuple[ScenarioRow, ...]:
    """A row for each scenario, cascades first."""
    by_scenario: dict[tuple[bool, str], list[Outcome]] = {}
    for outcome in groups.scored:
        by_scenario.setdefault((not outcome.expects_cascade, outcome.run.scenario), []).append(outcome)
    return tuple(_row(name, outcomes) for (_, name), outcomes in sorted(by_scenario.items()))


def _row(name: str, outcomes: Sequence[Outcome]) -> ScenarioRow:
    verdicts = [outcome.verdict for outcome in outcomes if outcome.verdict]
    return ScenarioRow(
        scenario=name,
        runs=len(outcomes),
        cascade=outcomes[0].expects_cascade,
        gap=_median([outcome.gap for outcome in outcomes]),
        warned=sum(outcome.pages.hit for outcome in outcomes),
        early=sum(outcome.pages.early for outcome in outcomes),
        lead=_median([outcome.pages.lead_seconds for outcome in outcomes]),
        delay=_median([outcome.pages.delay_seconds for outcome in outcomes]),
        early_warnings=sum(
            outcome.early_warnings.hit if outcome.expects_cascade else outcome.early_warnings.any_false
            for outcome in outcomes
        ),
        false=sum(outcome.pages.false_alarms for outcome in outcomes),
        causes=tuple(Counter(verdict.cause for verdict in verdicts).most_common()),
        root_causes=tuple(Counter(verdict.named for verdict in verdicts).most_common()),
    )


def _median(values: Sequence[float | None]) -> float:
    """Median without None; NaN of nothing."""
    present = [value for value in values if value is not None]
    return median(present) if present else math.nan
