"""The report of a time range from the hours of a ledger."""

from __future__ import annotations

import math

import numpy as np

from foreshock_dashboard.analysis.cost.savings import savings
from foreshock_dashboard.model.cost.ledger import HOUR_SECONDS, CostKey, CostLedger, Figure
from foreshock_dashboard.model.cost.prices import Prices
from foreshock_dashboard.model.cost.report import CostReport, CostRow
from foreshock_dashboard.model.types import Floats

MAX_SAVING_HOURS = 168
"""Hours that savings rest on, at the end of the time range."""


def cost_report(ledger: CostLedger, seconds: float, prices: Prices, until: float = math.inf) -> CostReport:
    """The last `seconds` of a ledger, in whole hours: every line with its price, the dearest first, and savings.

    until: Unix seconds before which the newest hour starts.
    """
    newest = max((start for start in ledger.hours if start < until), default=math.nan)
    if math.isnan(newest):
        return CostReport(ledger.end, ledger.end, 0.0, prices.currency, unread=ledger.unread_hours > 0)
    first = newest - (math.ceil(seconds / HOUR_SECONDS) - 1) * HOUR_SECONDS
    starts = sorted(start for start in ledger.hours if first <= start <= newest)
    hours = [ledger.hours[start] for start in starts]
    row = {key: i for i, key in enumerate(dict.fromkeys(key for hour in hours for key in hour.keys))}
    sums: Floats = np.zeros((len(row), len(Figure)))
    cube: Floats = np.zeros((len(row), min(len(hours), MAX_SAVING_HOURS), len(Figure)), np.float32)
    keys: tuple[CostKey, ...] = ()
    for column, hour in enumerate(hours, cube.shape[1] - len(hours)):
        if hour.keys is not keys:
            keys, lines = hour.keys, np.array([row[key] for key in hour.keys], np.intp)
        memory = np.maximum(sums[lines, Figure.MEMORY], hour.values[:, Figure.MEMORY])
        sums[lines] += hour.values
        sums[lines, Figure.MEMORY] = memory
        if column >= 0:
            cube[lines, column] = hour.values
    covered = np.array([hour.seconds for hour in hours])
    hourly = {key: prices.hourly(key.pool, key.model) for key in row}
    rows = [_row(key, sums[i], hourly[key]) for key, i in row.items()]
    rows.sort(key=lambda item: (-np.nan_to_num(item.money), -item.allocated, item.key.pool, str(item.key.service)))
    return CostReport(
        start=starts[0],
        end=min(ledger.end, newest + HOUR_SECONDS),
        seconds=float(covered.sum()),
        currency=prices.currency,
        rows=tuple(rows),
        savings=savings(tuple(row), cube, covered[-cube.shape[1] :], hourly),
        unread=ledger.unread_hours > 0 and newest - first > (len(hours) - 1) * HOUR_SECONDS,
    )


def _row(key: CostKey, sums: Floats, hourly: float) -> CostRow:
    """sums: figures of a line, shape (figures,)."""
    allocated, known, powered, sm_busy = (
        float(sums[figure]) for figure in (Figure.ALLOCATED, Figure.KNOWN, Figure.POWERED, Figure.SM_BUSY)
    )

    def used(figure: Figure) -> float:
        return float(sums[figure]) if known > 0 else math.nan

    return CostRow(
        key,
        allocated=allocated,
        use_known=known,
        busy=used(Figure.BUSY),
        waiting=used(Figure.WAITING),
        idle=used(Figure.IDLE),
        unused=used(Figure.UNUSED),
        joules=float(sums[Figure.JOULES]) if powered > 0 else math.nan,
        sm_active=float(sums[Figure.SM_ACTIVE]) / sm_busy if sm_busy > 0 else math.nan,
        memory=float(sums[Figure.MEMORY]) or math.nan,
        inferred=float(sums[Figure.INFERRED]),
        hourly=hourly,
    )
