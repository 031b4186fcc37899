"""Outcome of the analysis on one recording, outcomes by group, and a summary row per scenario."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_evaluation.protocol import (
    DAY_SECONDS,
    DetectionScore,
    components,
    happened_as_expected,
    score_pages,
)
from foreshock_evaluation.truth import Expected, Truth
from foreshock_evaluation.verdict import (
    History,
    Verdict,
    first_advisories,
    first_pages,
    forecast_retry_storm,
    judge_first_page,
)

_NAME = re.compile(r"(?P<size>[a-z]+)-(?P<seed>[0-9]+)-(?P<scenario>.+?)(-(?P<hours>[0-9.]+)h)?")


class Run(NamedTuple):
    """A scenario on a platform of a size, generated from a seed. duration: seconds; None: that of the scenario."""

    scenario: str
    size: str
    seed: int
    duration: float | None = None

    @property
    def name(self) -> str:
        """`small-11-outage`, `medium-101-calm-24h`: the name of its recording's folder."""
        hours = f"-{self.duration / 3600:g}h" if self.duration else ""
        return f"{self.size}-{self.seed}-{self.scenario}{hours}"

    @classmethod
    def parse(cls, name: str) -> Run:
        """Read the name of a folder.

        Raises:
            ValueError: it is not of the form SIZE-SEED-SCENARIO.
        """
        found = _NAME.fullmatch(name)
        if found is None:
            raise ValueError(f"{name!r} is not of the form SIZE-SEED-SCENARIO")
        hours = found["hours"]
        return cls(found["scenario"], found["size"], int(found["seed"]), float(hours) * 3600.0 if hours else None)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of one run.

    scored: whether the cascade happened as expected. expected: whether the scenario has a cascade. cause: true cause
    class. gap: seconds from the fault to the cascade; None without one. services: number with requests. pages,
    advisories: detection scores; a page counts as an advisory from its opening. verdict: on the first hit. storm:
    whether an advisory of a retry storm was open at the onset; None for other causes.
    """

    run: Run
    scored: bool
    expected: bool
    cause: str
    gap: float | None
    services: int
    pages: DetectionScore
    advisories: DetectionScore
    verdict: Verdict | None
    storm: bool | None

    @property
    def service_days(self) -> float:
        """Service-days in which a page would be a false alarm."""
        return self.services * self.pages.quiet_seconds / DAY_SECONDS


def outcome_of(run: Run, truth: Truth, expected: Expected, world: World, history: History) -> Outcome:
    """Score the incidents of a replayed recording."""
    component = components(world)
    paged = first_pages(history)
    pages = score_pages(truth, expected, (each.page for each in paged), component)
    first = next((each for each in paged if pages.hit and each.page == pages.first_hit), None)
    return Outcome(
        run=run,
        scored=happened_as_expected(truth, expected),
        expected=expected.cascade,
        cause=truth.cause,
        gap=truth.cascade_onset - truth.onset if truth.cascaded and truth.onset is not None else None,
        services=count_active_services(world),
        pages=pages,
        advisories=score_pages(truth, expected, (each.page for each in first_advisories(history)), component),
        verdict=judge_first_page(truth, expected, first) if first else None,
        storm=forecast_retry_storm(truth, history) if truth.cause == "retry_storm" else None,
    )


def count_active_services(world: World) -> int:
    """Number of services with requests."""
    rate: Floats = world.red.rate
    return int((rate > 0).any(axis=1).sum())


class Groups(NamedTuple):
    """Outcomes by group.

    warnable: cascades that leave time for a warning. unscored: runs that contradict their scenario.
    """

    cascades: tuple[Outcome, ...]
    warnable: tuple[Outcome, ...]
    benign: tuple[Outcome, ...]
    unscored: tuple[Outcome, ...]


def group_outcomes(outcomes: Sequence[Outcome], instant: frozenset[str]) -> Groups:
    """Group outcomes. instant: scenarios that no detector can warn of in time."""
    scored = [each for each in outcomes if each.scored]
    cascades = tuple(each for each in scored if each.expected)
    return Groups(
        cascades,
        tuple(each for each in cascades if each.run.scenario not in instant),
        tuple(each for each in scored if not each.expected),
        tuple(each for each in outcomes if not each.scored),
    )


class ScenarioRow(NamedTuple):
    """Summary of the runs of one scenario; seconds are medians.

    gap: from the fault to the cascade. warned, early, advised: number of runs. delay: from the fault to the first page.
    causes, culprits: of first pages, with their counts.
    """

    scenario: str
    runs: int
    cascade: bool
    gap: float
    warned: int
    early: int
    lead: float
    delay: float
    advised: int
    false: int
    causes: tuple[tuple[str, int], ...]
    culprits: tuple[tuple[str, int], ...]


def scenario_rows(groups: Groups) -> tuple[ScenarioRow, ...]:
    """A row for each scenario, cascades first."""
    found: dict[tuple[bool, str], list[Outcome]] = {}
    for each in (*groups.cascades, *groups.benign):
        found.setdefault((not each.expected, each.run.scenario), []).append(each)
    return tuple(_row(name, runs) for (_, name), runs in sorted(found.items()))


def _row(name: str, runs: Sequence[Outcome]) -> ScenarioRow:
    verdicts = [each.verdict for each in runs if each.verdict]
    return ScenarioRow(
        scenario=name,
        runs=len(runs),
        cascade=runs[0].expected,
        gap=_median([each.gap for each in runs]),
        warned=sum(each.pages.hit for each in runs),
        early=sum(each.pages.early for each in runs),
        lead=_median([each.pages.lead_seconds for each in runs]),
        delay=_median([each.pages.delay_seconds for each in runs]),
        advised=sum(each.advisories.hit if each.expected else each.advisories.false_alarms > 0 for each in runs),
        false=sum(each.pages.false_alarms for each in runs),
        causes=tuple(Counter(verdict.cause for verdict in verdicts).most_common()),
        culprits=tuple(Counter(verdict.named for verdict in verdicts).most_common()),
    )


def _median(values: Sequence[float | None]) -> float:
    """Median without None; NaN of nothing."""
    known = [value for value in values if value is not None]
    return median(known) if known else math.nan
