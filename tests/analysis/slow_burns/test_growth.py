"""Resources that grow from day to day are reported with the time at which they are full."""

from __future__ import annotations

import numpy as np
import pytest

from foreshock_dashboard.analysis.capacity.seasonal import DAY_POINTS
from foreshock_dashboard.analysis.slow_burns.burns import slow_burns
from foreshock_dashboard.analysis.slow_burns.resource import Resource
from foreshock_dashboard.model.capacity.slow_burn import SlowBurnKind
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world_sections import DAY_SECONDS

CHAT, END = Service("serving", "chat"), 1_767_571_200.0
KEY = (Resource(CHAT, ""), SlowBurnKind.MEMORY)
DAYS = np.arange(4 * DAY_POINTS) / DAY_POINTS
NOISE = np.random.default_rng(0).normal(0, 0.005, len(DAYS))
COURSE = 0.1 * np.sin(2 * np.pi * DAYS)
LEAK = 0.3 + 0.1 * DAYS + NOISE
"""A tenth a day from 0.3, so 0.7 after four days, and full after three more."""
STEPS = (22, 24, 26, 46, 48, 50)


@pytest.mark.parametrize("values", [pytest.param(LEAK, id="a line"), pytest.param(LEAK + COURSE, id="with a day")])
def test_a_leak_is_reported_with_the_time_of_its_end(values: Floats) -> None:
    """Also where use varies with the time of the day."""
    (burn,) = slow_burns(END, {KEY: values})
    assert (burn.kind, burn.service) == (SlowBurnKind.MEMORY, CHAT)
    assert burn.growth * DAY_SECONDS == pytest.approx(0.1, rel=0.1)
    assert burn.at == pytest.approx(END + 3 * DAY_SECONDS, abs=0.3 * DAY_SECONDS)
    assert burn.earliest <= burn.at <= burn.latest
    assert burn.since == pytest.approx(END - 4 * DAY_SECONDS, abs=1.1 * DAY_SECONDS)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(0.6 + 2 * COURSE + NOISE, id="a day without growth"),
        pytest.param(0.5 + 0.4 * (DAYS % 1) + NOISE, id="a leak that ends with each restart at night"),
        pytest.param(0.1 + 0.02 * DAYS + NOISE, id="little in use"),
        pytest.param(0.5 + 0.02 * DAYS + NOISE / 10, id="full in weeks"),
        pytest.param(np.where(DAYS > 3.5, np.nan, LEAK), id="no data any more"),
        *(
            pytest.param(np.where(4 - hours / 24 < DAYS, 0.7, 0.4) + NOISE, id=f"a step {hours} h ago")
            for hours in STEPS
        ),
        pytest.param(np.where(DAYS < 2.2, np.nan, LEAK), id="less than two days of data"),
        pytest.param(np.full(len(DAYS), np.nan), id="no data"),
    ],
)
def test_what_does_not_grow_from_day_to_day_is_no_leak(values: Floats) -> None:
    """Nothing is reported without growth, or without the data that shows it."""
    assert slow_burns(END, {KEY: values}) == ()


def test_the_first_to_be_full_comes_first() -> None:
    """Whatever the order of the resources."""
    faster = (Resource(None, "host-1/gpu-0"), SlowBurnKind.GPU_MEMORY)
    burns = slow_burns(END, {KEY: LEAK, faster: LEAK + 0.2})
    assert [burn.name for burn in burns] == ["host-1/gpu-0", ""]
