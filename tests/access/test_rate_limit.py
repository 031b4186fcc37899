"""Rate limit: a burst, then a steady rate, per key."""

from __future__ import annotations

import pytest

from foreshock_dashboard.access.rate_limit import BURST_SECONDS, MIN_BURST_REQUESTS, RateLimit


def test_a_burst_is_admitted_and_then_the_steady_rate() -> None:
    """1200 a minute: 20 s of them at once, then 20 a second; a refused one does not count."""
    now = [100.0]
    limit = RateLimit(1200, lambda: now[0])
    burst = 20 * int(BURST_SECONDS) + 1
    assert [limit.wait("a") for _ in range(burst)] == [0.0] * burst
    assert [limit.wait("a") for _ in range(3)] == pytest.approx([0.05] * 3)
    now[0] += 0.051
    assert [limit.wait("a") for _ in range(2)] == pytest.approx([0.0, 0.049])


def test_a_page_loads_however_low_the_rate_is() -> None:
    """Its files come at once."""
    limit = RateLimit(1, lambda: 0.0)
    assert [limit.wait("a") for _ in range(MIN_BURST_REQUESTS)] == [0.0] * MIN_BURST_REQUESTS
    assert limit.wait("a") == pytest.approx(60.0)


def test_one_key_does_not_take_from_another() -> None:
    """Each has its own."""
    limit = RateLimit(1, lambda: 0.0)
    for _ in range(MIN_BURST_REQUESTS):
        limit.wait("a")
    assert [limit.wait(key) > 0 for key in ("a", "b")] == [True, False]


def test_an_idle_key_saves_no_more_than_a_burst() -> None:
    """An hour without requests gives the burst once."""
    now = [0.0]
    limit = RateLimit(60, lambda: now[0])
    limit.wait("a")
    now[0] = 3600.0
    admitted = sum(limit.wait("a") == 0.0 for _ in range(1000))
    assert admitted == MIN_BURST_REQUESTS
