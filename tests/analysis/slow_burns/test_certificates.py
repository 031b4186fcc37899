"""Certificates are reported in the week before they expire, unless they are renewed on their own."""

from __future__ import annotations

import numpy as np
import pytest

from foreshock_dashboard.analysis.capacity.seasonal import DAY_POINTS
from foreshock_dashboard.analysis.slow_burns.burns import slow_burns
from foreshock_dashboard.analysis.slow_burns.resource import Resource
from foreshock_dashboard.model.capacity.slow_burn import SlowBurnKind
from foreshock_dashboard.model.types import Floats

END, DAY = 1_767_571_200.0, 86_400.0
KEY = (Resource(None, "shop.example.com"), SlowBurnKind.CERTIFICATE)
DAYS = np.arange(3 * DAY_POINTS) / DAY_POINTS - 3.0
"""Time before the end."""


def expires(days: float) -> Floats:
    """Seconds left of a certificate that expires so many days after the end."""
    left: Floats = (days - DAYS - 1 / DAY_POINTS) * DAY
    return left


def rotated(life: float, every: float, last: float) -> Floats:
    """Seconds left of certificates that live some days and are replaced every few; the last time `last` days ago."""
    since = (DAYS + 1 / DAY_POINTS + last) % every
    held = np.where(-last < DAYS + 1 / DAY_POINTS, DAYS + 1 / DAY_POINTS + last, since)
    left: Floats = (life - held) * DAY
    return left


@pytest.mark.parametrize("days", [6.5, 1.0, -0.5])
def test_a_certificate_is_reported_within_a_week_of_its_end(days: float) -> None:
    """Also once it has expired. Its time is known."""
    (burn,) = slow_burns(END, {KEY: expires(days).astype(np.float32)})
    assert (burn.kind, burn.name) == (SlowBurnKind.CERTIFICATE, "shop.example.com")
    assert burn.at == burn.earliest == burn.latest == pytest.approx(END + days * DAY, abs=60)
    assert burn.value == pytest.approx(days * DAY, abs=60)


def test_a_short_lived_certificate_whose_renewal_is_late_is_reported() -> None:
    """It lives a day, and was replaced every half day until the last one."""
    (burn,) = slow_burns(END, {KEY: rotated(1.0, 0.5, 0.8)})
    assert burn.at == pytest.approx(END + 0.2 * DAY, abs=60)


def days_of(weeks: int) -> Floats:
    """Times before the end, in days."""
    times: Floats = np.arange(weeks * 7 * DAY_POINTS) / DAY_POINTS - 7.0 * weeks
    return times


@pytest.mark.parametrize(
    ("life", "every"),
    [pytest.param(160 / 24, 107 / 24, id="short-lived"), (10.0, 20 / 3), (20.0, 40 / 3)],
)
def test_a_certificate_that_lives_for_days_is_not_reported_before_each_renewal(life: float, every: float) -> None:
    """Four weeks show a renewal, at two thirds of its life; one that is late is reported."""
    for since in np.arange(0.0, every, 0.25):
        age = days_of(4) + 1 / DAY_POINTS + since
        held = np.where(age > 0, age, age % every)
        assert slow_burns(END, {KEY: (life - held) * DAY}) == (), since
    age = days_of(4) + 1 / DAY_POINTS + every + 0.25
    (burn,) = slow_burns(END, {KEY: (life - np.where(age > 0, age, age % every)) * DAY})
    assert burn.at == pytest.approx(END + (life - every - 0.25) * DAY, abs=60)


@pytest.mark.parametrize(
    "left",
    [
        pytest.param(expires(8), id="in more than a week"),
        pytest.param(expires(-8), id="more than a week ago"),
        pytest.param(rotated(1.0, 0.5, 0.3), id="renewed every half day"),
        pytest.param(np.where(DAYS > -0.2, np.nan, expires(3)), id="no data any more"),
        pytest.param(np.full(len(DAYS), np.nan), id="no data"),
    ],
)
def test_other_certificates_are_none(left: Floats) -> None:
    assert slow_burns(END, {KEY: left}) == ()


def test_two_servers_behind_one_address_are_no_renewal() -> None:
    """One of them has a new certificate; the other one expires."""
    old, new = expires(2), expires(80)
    mixed = np.where(np.arange(len(old)) % 2 == 1, old, new)
    (burn,) = slow_burns(END, {KEY: mixed})
    assert burn.at == pytest.approx(END + 2 * DAY, abs=60)
