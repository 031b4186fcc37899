"""Queues that grow for hours are reported with the time at which they have doubled."""

from __future__ import annotations

import numpy as np
import pytest

from foreshock_dashboard.analysis.capacity.seasonal import DAY_POINTS, HOUR_POINTS
from foreshock_dashboard.analysis.slow_burns.burns import slow_burns
from foreshock_dashboard.analysis.slow_burns.resource import Resource
from foreshock_dashboard.model.capacity.slow_burn import SlowBurnKind
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats

CHAT, END = Service("serving", "chat"), 1_767_571_200.0
KEY = (Resource(CHAT, ""), SlowBurnKind.QUEUE)
HOURS = np.arange(3 * DAY_POINTS) / HOUR_POINTS - 72.0
"""Time before the end."""
NOISE = np.random.default_rng(0).uniform(0, 3, len(HOURS))
PEAK = 100 * np.maximum(0.0, np.sin(2 * np.pi * (HOURS + 6) / 24))
"""A queue of 0 to 100 at each daily peak, which is now."""


def grown(hours: float, per_hour: float = 50.0) -> Floats:
    """A queue that began to grow so many hours ago."""
    values: Floats = np.maximum(0.0, HOURS + hours) * per_hour + NOISE
    return values


def test_a_queue_that_does_not_drain_doubles() -> None:
    """It has 300 after six hours of 50, and 600 in six more."""
    (burn,) = slow_burns(END, {KEY: grown(6)})
    assert (burn.kind, burn.service) == (SlowBurnKind.QUEUE, CHAT)
    assert burn.value == pytest.approx(280, abs=20)
    assert burn.limit == 2 * burn.value
    assert burn.growth * 3600 == pytest.approx(50, rel=0.1)
    assert burn.at == pytest.approx(END + 6 * 3600, abs=3600)
    assert burn.earliest <= burn.at <= burn.latest
    assert burn.since == pytest.approx(END - 6 * 3600, abs=3600)


@pytest.mark.parametrize(
    ("values", "hours"),
    [
        pytest.param(np.exp(1.2 * np.maximum(0.0, HOURS + 6)) - 1, 2.6, id="exponential"),
        pytest.param(3 * np.maximum(0.0, HOURS + 8) ** 2, 4.5, id="quadratic"),
    ],
)
def test_a_queue_that_grows_ever_faster_doubles_at_its_last_rate(values: Floats, hours: float) -> None:
    """A retry storm, or a consumer that slows down with its backlog."""
    (burn,) = slow_burns(END, {KEY: values})
    assert (burn.at - END) / 3600 == pytest.approx(hours, abs=0.5)
    assert burn.earliest <= burn.at <= burn.latest


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(PEAK + NOISE, id="as long as at each peak"),
        pytest.param(grown(3), id="three hours"),
        pytest.param(grown(6, 1), id="a handful of requests"),
        pytest.param(np.minimum(grown(6), 200) + HOURS / 10, id="it has stopped growing"),
        pytest.param(np.where((HOURS > -2.5) & (HOURS < -2), 0.0, grown(6)), id="it drained between"),
        pytest.param(np.where(HOURS < -12, np.nan, grown(6)), id="less than a day before it grew"),
        pytest.param(np.where(HOURS > -2, np.nan, grown(6)), id="no data any more"),
        pytest.param(np.full(len(HOURS), 200.0), id="long, and no longer than ever"),
        pytest.param(np.full(len(HOURS), np.nan), id="no data"),
    ],
)
def test_other_queues_are_none(values: Floats) -> None:
    assert slow_burns(END, {KEY: values}) == ()
