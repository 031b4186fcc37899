"""Outcomes by what they count for, and a row for each scenario."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from foreshock_dashboard.evaluation.outcome import Outcome


class Groups(NamedTuple):
    """Outcomes that count, and unscored ones, which went otherwise than meant.

    warnable: cascades whose trigger leaves time to warn.
    """

    cascades: tuple[Outcome, ...]
    warnable: tuple[Outcome, ...]
    benign: tuple[Outcome, ...]
    unscored: tuple[Outcome, ...]


def grouped(outcomes: Sequence[Outcome], instant: frozenset[str]) -> Groups:
    """Sort the outcomes. `instant`: scenarios that no detector can warn of in time."""
    scored = [each for each in outcomes if each.scored]
    cascades = tuple(each for each in scored if each.expected)
    return Groups(
        cascades,
        tuple(each for each in cascades if each.run.scenario not in instant),
        tuple(each for each in scored if not each.expected),
        tuple(each for each in outcomes if not each.scored),
    )


class ScenarioRow(NamedTuple):
    """What became of the runs of one scenario. Seconds are medians; causes and culprits are what first pages named.

    gap: from the fault to the cascade. warned, early, advised: runs; in a benign scenario, advised are those with an
    advisory. delay: from the fault to the first page.
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


def by_scenario(groups: Groups) -> tuple[ScenarioRow, ...]:
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
        lead=_median([each.pages.lead for each in runs]),
        delay=_median([each.pages.delay for each in runs]),
        advised=sum(each.advisories.hit if each.expected else each.advisories.false > 0 for each in runs),
        false=sum(each.pages.false for each in runs),
        causes=tuple(Counter(verdict.cause for verdict in verdicts).most_common()),
        culprits=tuple(Counter(verdict.named for verdict in verdicts).most_common()),
    )


def _median(values: Sequence[float | None]) -> float:
    """Of those that there are."""
    known = [value for value in values if value is not None]
    return median(known) if known else math.nan
