"""Outcomes by class of scenario: cascades, look-alikes, slow burns, and random ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import NamedTuple

from foreshock_evaluation.scores.outcome import Groups


class ClassRow(NamedTuple):
    """Summary of the scored runs of one class; each run has the same weight.

    gap: median seconds from the fault to the cascade. warned: cascades with a page by their onset + 5 min. warnable:
    cascades that leave time for a warning; early and the leads are theirs. lead: median seconds. lead_share: median of
    the lead over the time from the fault to the cascade. top1: share of the warned cascades whose root cause is right.
    benign: runs without a cascade or a breach of the origin, of which `paged`.
    """

    name: str
    runs: int
    cascades: int
    gap: float
    warned: int
    warnable: int
    early: int
    lead: float
    lead_share: float
    top1: float
    benign: int
    paged: int
    false: int


def class_rows(groups: Groups, classes: Mapping[str, Sequence[str]]) -> tuple[ClassRow, ...]:
    """A row for each class that has runs. classes: scenarios of each."""
    rows = [
        _row(name, Groups(*(tuple(item for item in part if item.run.scenario in members) for part in groups)))
        for name, members in classes.items()
    ]
    return tuple(row for row in rows if row.runs)


def _row(name: str, groups: Groups) -> ClassRow:
    cascades, warnable, benign, _ = groups
    verdicts = [outcome.verdict for outcome in cascades if outcome.verdict]
    return ClassRow(
        name=name,
        runs=len(groups.scored),
        cascades=len(cascades),
        gap=_median([outcome.gap for outcome in cascades if outcome.gap is not None]),
        warned=sum(outcome.pages.hit for outcome in cascades),
        warnable=len(warnable),
        early=sum(outcome.pages.early for outcome in warnable),
        lead=_median([outcome.pages.lead_seconds for outcome in warnable]),
        lead_share=_median([outcome.lead_share for outcome in warnable if outcome.lead_share is not None]),
        top1=fmean(verdict.top1 for verdict in verdicts) if verdicts else math.nan,
        benign=len(benign),
        paged=sum(outcome.pages.any_false for outcome in benign),
        false=sum(outcome.pages.false_alarms for outcome in groups.scored),
    )


def _median(values: Sequence[float]) -> float:
    return median(values) if values else math.nan
