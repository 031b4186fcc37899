"""Rate limit: a burst, then a steady rate, per key."""

from __future__ import annotations

from foreshock_dashboard.access.rate_limit import BURST_SECONDS, RateLimit


def test_a_burst_is_admitted_and_then_the_steady_rate() -> None:
    """60 a minute: 20 s of them at once, then one a second; a refused one does not count."""
    now = [100.0]
    limit = RateLimit(60, lambda: now[0])
    burst = int(BURST_SECONDS) + 1
    assert [limit.wait("a") for _ in range(burst)] == [0.0] * burst
    assert [limit.wait("a") for _ in range(3)] == [1.0] * 3
    now[0] += 1
    assert [limit.wait("a") for _ in range(2)] == [0.0, 1.0]


def test_one_key_does_not_take_from_another() -> None:
    """Each has its own."""
    limit = RateLimit(1, lambda: 0.0)
    assert [limit.wait(key) > 0 for key in ("a", "a", "b")] == [False, True, False]


def test_an_idle_key_saves_no_more_than_a_burst() -> None:
    """An hour without requests gives the burst once."""
    now = [0.0]
    limit = RateLimit(60, lambda: now[0])
    limit.wait("a")
    now[0] = 3600.0
    admitted = sum(limit.wait("a") == 0.0 for _ in range(100))
    assert admitted == int(BURST_SECONDS) + 1
