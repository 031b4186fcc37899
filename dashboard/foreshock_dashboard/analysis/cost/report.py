"""The report of a time range from the hours of a ledger."""

from __future__ import annotations

import math

import numpy as np

from foreshock_dashboard.analysis.cost.idle import idle_holdings
from foreshock_dashboard.model.cost.ledger import HOUR_SECONDS, CostKey, CostLedger, Figure
from foreshock_dashboard.model.cost.prices import Prices
from foreshock_dashboard.model.cost.report import CostReport, CostRow
from foreshock_dashboard.model.types import Floats


def cost_report(ledger: CostLedger, seconds: float, prices: Prices, until: float = math.inf) -> CostReport:
    """The last `seconds` of a ledger, in whole hours: every line with its price, by price, and what is idle.

    until: Unix seconds; the range ends at the full hour before it, or where the ledger ends.
    """
    end = ledger.end if until >= ledger.end else until // HOUR_SECONDS * HOUR_SECONDS
    if math.isnan(end):
        return CostReport(end, end, 0.0, prices.currency, unread=ledger.unread_hours > 0)
    first = (end - seconds) // HOUR_SECONDS * HOUR_SECONDS
    starts = sorted(start for start in ledger.hours if first <= start < end)
    hours = [ledger.hours[start] for start in starts]
    row = {key: i for i, key in enumerate(dict.fromkeys(key for hour in hours for key in hour.keys))}
    sums: Floats = np.zeros((len(row), len(Figure)))
    keys: tuple[CostKey, ...] = ()
    for hour in hours:
        if hour.keys is not keys:
            keys, lines = hour.keys, np.array([row[key] for key in hour.keys], np.intp)
        sums[lines] += hour.values
    rows = [_row(key, sums[i], prices.hourly(key.pool, key.model)) for key, i in row.items()]
    rows.sort(key=lambda item: (-np.nan_to_num(item.money), -item.allocated, item.key.pool, str(item.key.service)))
    return CostReport(
        start=starts[0] if starts else first,
        end=end,
        seconds=math.fsum(hour.seconds for hour in hours),
        currency=prices.currency,
        rows=tuple(rows),
        gpu_wait=ledger.total(Figure.GPU_WAIT, starts[0] if starts else first, end),
        idle=idle_holdings(ledger, end, lambda key: prices.hourly(key.pool, key.model)),
        unread=ledger.unread_hours > 0 and len(hours) * HOUR_SECONDS < end - first,
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
        borrowed=used(Figure.BORROWED),
        joules=float(sums[Figure.JOULES]) if powered > 0 else math.nan,
        sm_active=float(sums[Figure.SM_ACTIVE]) / sm_busy if sm_busy > 0 else math.nan,
        inferred=float(sums[Figure.INFERRED]),
        sampled=float(sums[Figure.SAMPLED]),
        hourly=hourly,
    )
