"""Idle holdings: which GPUs ran no kernel, for how long, and which may be given back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from tests.analysis.cost.usages import STEP, STEPS, holder, usage

from foreshock_dashboard.analysis.cost.account import account
from foreshock_dashboard.analysis.cost.report import cost_report
from foreshock_dashboard.model.cost.ledger import HOUR_SECONDS, CostLedger
from foreshock_dashboard.model.cost.prices import NO_PRICES, Price, Prices
from foreshock_dashboard.model.cost.report import CostReport
from foreshock_dashboard.model.cost.usage import GpuUsage

END = 1_796_040_000.0
PRICES = Prices("USD", {"H100": Price(3.0)})
DAY = 86_400.0
CHAT = holder("chat")


def ledger(*hours: GpuUsage | None) -> CostLedger:
    """Of these hours, oldest first; None has no data."""
    start = END - len(hours) * HOUR_SECONDS
    by_hour = {start + i * HOUR_SECONDS: account(hour) for i, hour in enumerate(hours) if hour}
    return CostLedger(END, END, by_hour)


def report(*hours: GpuUsage | None, prices: Prices = PRICES, seconds: float = DAY) -> CostReport:
    """Of the last day of these hours."""
    return cost_report(ledger(*hours), seconds, prices)


def found(*hours: GpuUsage | None) -> list[tuple[str, float, float, bool]]:
    """Service, GPUs, hours, and whether it may be scaled to 0."""
    return [
        (str(item.key.service), round(item.gpus, 2), round(item.seconds / 3600, 2), item.can_pause)
        for item in report(*hours).idle
    ]


TWO = [CHAT, holder("chat", 1)]
IDLE, HALF = usage(1, [CHAT], [0.0], pausable=["chat"]), usage(1, [CHAT], [0.5], pausable=["chat"])
SERVING = usage(1, [CHAT], [0.0], pausable=["chat"], requested=["chat"])
FREE = usage(1)
POOLS = ("standby", "main")
HOURS: dict[str, tuple[Sequence[GpuUsage | None], list[tuple[str, float, float, bool]]]] = {
    "idle all day": ([IDLE] * 24, [("ml/chat", 1, 24, True)]),
    "requests without a kernel within the day": ([*[IDLE] * 4, SERVING, *[IDLE] * 20], [("ml/chat", 1, 25, False)]),
    "requests before the last day": ([SERVING, *[IDLE] * 25], [("ml/chat", 1, 26, True)]),
    "idle for 23 h: a fact": ([HALF, *[IDLE] * 23], [("ml/chat", 1, 23, False)]),
    "idle in the last hour": ([HALF] * 23 + [IDLE], [("ml/chat", 1, 1, False)]),
    "idle since it got the GPU an hour ago": ([FREE] * 23 + [IDLE], [("ml/chat", 1, 1, False)]),
    "idle for 20 minutes": ([usage(1, [CHAT], [[0.9, 0.9, 0.9, 0.9, 0, 0]])], []),
    "idle for 40 minutes": ([usage(1, [CHAT], [[0.9, 0.9, 0, 0, 0, 0]])], [("ml/chat", 1, 0.67, False)]),
    "an hour without data ends what is known": ([*[IDLE] * 20, None, *[IDLE] * 5], [("ml/chat", 1, 5, False)]),
    "a missing step does, too": (
        [*[IDLE] * 30, usage(1, [CHAT], [0], present=[[1, 1, 1, 0, 1, 1]]), *[IDLE] * 2],
        [("ml/chat", 1, 2.33, False)],
    ),
    "not idle now": ([IDLE] * 23 + [HALF], []),
    "no data now": ([IDLE] * 24 + [None], []),
    "busy 50 of 60 min": ([usage(1, [CHAT], [[0.9, 0.9, 0.9, 0.9, 0.9, 0]], pausable=["chat"])] * 24, []),
    "replicas alternate": (
        [usage(2, TWO, [[0.9, 0, 0.9, 0, 0.9, 0], [0, 0.9, 0, 0.9, 0, 0.9]], pausable=["chat"])] * 24,
        [],
    ),
    "one of two replicas": ([usage(2, TWO, [0.5, 0], pausable=["chat"])] * 24, [("ml/chat", 1, 24, False)]),
    "idle in one pool, in use in the other": (
        [usage(2, TWO, [0, 0.9], pools=POOLS, pausable=["chat"])] * 24,
        [("ml/chat", 1, 24, False)],
    ),
    "idle in both pools, in one of them for 3 h": (
        [usage(2, TWO, [0, 0.9], pools=POOLS, pausable=["chat"])] * 24
        + [usage(2, TWO, [0, 0], pools=POOLS, pausable=["chat"])] * 3,
        [("ml/chat", 1, 27, False), ("ml/chat", 1, 3, False)],
    ),
    "idle in both pools": (
        [usage(2, TWO, [0, 0], pools=POOLS, pausable=["chat"])] * 24,
        [("ml/chat", 1, 24, True), ("ml/chat", 1, 24, True)],
    ),
    "of unknown use in one pool": (
        [usage(2, TWO, [0, np.nan], utilization=[0, np.nan], pools=POOLS, pausable=["chat"])] * 24,
        [("ml/chat", 1, 24, False)],
    ),
    "no Deployment, or with an autoscaler": ([usage(1, [CHAT], [0.0])] * 24, [("ml/chat", 1, 24, False)]),
    "seen by its processes alone": (
        [usage(1, [CHAT], [0.0], given=False, pausable=["chat"])] * 24,
        [("ml/chat", 1, 24, False)],
    ),
    "half of a GPU": ([usage(1, [CHAT, holder("batch")], [0.9, 0])] * 24, [("ml/batch", 0.5, 24, False)]),
    "waiting for the neighbor": (
        [usage(1, [CHAT, holder("batch")], [0.9, 0], waiting=[0, 0.6])] * 24,
        [],
    ),
    "utilization unknown": ([usage(1, [holder("chat", process=False)], [np.nan], utilization=[np.nan])] * 24, []),
    "a gauge that reads 0 now and then": ([usage(1, [CHAT], [0.0], counted=False, pausable=["chat"])] * 24, []),
    "hidden processes use the GPU": ([usage(1, [CHAT], [0.0], utilization=[0.3], pausable=["chat"])] * 24, []),
    "a process is hidden, rarely in use": (
        [usage(1, [holder("chat", process=False)], [np.nan], utilization=[0.005], pausable=["chat"])] * 24,
        [],
    ),
    "an unallocated GPU is no holding": ([FREE] * 24, []),
}


@pytest.mark.parametrize("case", HOURS)
def test_a_holding_is_idle_only_if_every_step_shows_it(case: str) -> None:
    """Unknown is never idle; only a service whose GPUs all are may be scaled to 0."""
    hours, expected = HOURS[case]
    assert found(*hours) == expected


@pytest.mark.parametrize("seconds", [600.0, HOUR_SECONDS, DAY, 7 * DAY])
def test_what_is_idle_does_not_depend_on_the_time_range(seconds: float) -> None:
    """A short range claims nothing more."""
    (item,) = report(*[HALF] * 18, *[IDLE] * 6, seconds=seconds).idle

    assert (item.seconds, item.gpu_seconds, item.is_lasting) == (6 * HOUR_SECONDS, 6 * HOUR_SECONDS, False)
    assert math.isnan(item.gpu_hours_per_day)
    assert item.money == pytest.approx(18)


def test_no_more_is_idle_than_the_line_held() -> None:
    """Four GPUs held for the last of 24 hours are four GPU-hours."""
    four = usage(4, [holder("notebook", gpu) for gpu in range(4)], [0.0] * 4)
    (item,) = report(*[usage(4)] * 23, four).idle

    assert (item.gpus, item.gpu_seconds) == (4, 4 * HOUR_SECONDS)
    assert [gpu.index for gpu in item.on] == ["0", "1", "2", "3"]


def test_money_is_gpu_hours_times_price() -> None:
    """Unknown without a price."""
    priced, unpriced = report(*[IDLE] * 24), report(*[IDLE] * 24, prices=NO_PRICES)

    assert (priced.rows[0].money, priced.idle[0].money_per_day) == pytest.approx((72, 72))
    assert math.isnan(unpriced.rows[0].money)
    assert math.isnan(unpriced.idle[0].money_per_day)


def test_all_idle_holdings_are_reported_the_largest_first() -> None:
    """Sums are of all of them."""
    held = [holder(f"s{gpu}", gpu, fraction=(12 - gpu) / 12) for gpu in range(12)]
    items = report(*[usage(12, held, [0.0] * 12)] * 24).idle

    assert [item.key.service.name for item in items if item.key.service] == [f"s{gpu}" for gpu in range(12)]


def test_rows_of_many_hours_sum_to_the_fleets_gpu_time() -> None:
    """Holders that come and go included."""
    hours = [IDLE, FREE, usage(1, utilization=[0.5]), HALF, usage(1, present=[[1, 0, 0, 1, 1, 1]])]

    assert sum(row.allocated for row in report(*hours).rows) == pytest.approx((4 * STEPS + 4) * STEP)
    for row in report(*hours).rows:
        if row.key.service:
            assert row.busy + row.waiting + row.idle == pytest.approx(row.use_known)


def test_a_range_ends_where_the_data_end() -> None:
    """Days without data are not skipped, and hours that are not over at a time are not of the range up to it."""
    gone = report(*[IDLE] * 30, *[None] * 120)
    hours = ledger(*[HALF] * 30)
    past = cost_report(hours, DAY, NO_PRICES, END - 1800)

    assert (gone.rows, gone.idle, gone.end) == ((), (), END)
    assert (past.end, past.end - past.start, past.seconds) == (END - 3600, DAY, DAY)


def test_the_last_24_hours_are_24_full_hours_for_metrics() -> None:
    """And the part of the present hour on the page."""
    full = ledger(*[HALF] * 30)
    part = account(usage(1, [CHAT], [0.5], present=[[1, 0, 0, 0, 0, 0]]))
    at_ten_past = CostLedger(END + 600, END + 600, {**full.hours, END: part})

    assert cost_report(at_ten_past, DAY, NO_PRICES, at_ten_past.whole_end).seconds == DAY
    assert cost_report(at_ten_past, DAY, NO_PRICES).seconds == DAY + 600


def test_nothing_is_scaled_to_zero_by_data_of_the_past() -> None:
    """Neither of an earlier time, nor after a read that failed."""
    now = ledger(*[IDLE] * 30)
    reports = (
        cost_report(now, DAY, NO_PRICES),
        cost_report(now, DAY, NO_PRICES, END - HOUR_SECONDS),
        cost_report(replace(now, error="cannot be reached"), DAY, NO_PRICES),
    )

    assert [[(item.seconds, item.can_pause) for item in found.idle] for found in reports] == [
        [(30 * HOUR_SECONDS, True)],
        [(29 * HOUR_SECONDS, False)],
        [(30 * HOUR_SECONDS, False)],
    ]
