"""A clock that jumps deletes no history; data expires by the age of the newest data kept."""

from __future__ import annotations

import inspect
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from foreshock_dashboard.common.clock import Clock, since_boot
from foreshock_dashboard.store import Retention, Store
from foreshock_dashboard.store.trusted_clock import JUMP_SECONDS, TRUSTED_AFTER_SECONDS, TrustedClock

if TYPE_CHECKING:
    from tests.store.conftest import Bench, MakeSpan, Scrape, Values

DAY = 86_400.0
T = 1_790_000_000.0


@dataclass
class Clocks:
    """A wall clock and a monotonic clock; the wall clock may be stepped."""

    wall: float = T
    steady: float = 1_000.0

    def pass_time(self, seconds: float) -> None:
        """Let both run."""
        self.wall += seconds
        self.steady += seconds

    def retention(self) -> TrustedClock:
        """A retention clock that reads both, an hour after the start."""
        clock = TrustedClock(lambda: self.wall, lambda: self.steady)
        self.pass_time(TRUSTED_AFTER_SECONDS)
        assert clock.reference(1e12) == self.wall
        return clock


def test_ages_count_from_the_newest_data_but_not_from_the_future() -> None:
    """A sender with a wrong clock does not expire the data of the others."""
    clocks = Clocks()
    clock = clocks.retention()
    clocks.pass_time(60)
    assert clock.reference(T) == T
    assert clock.reference(T + 40 * DAY) == T + TRUSTED_AFTER_SECONDS + 60


@pytest.mark.parametrize("jump", [40 * DAY, JUMP_SECONDS + 1, -JUMP_SECONDS - 1, -T])
def test_nothing_expires_after_a_jump_until_it_has_lasted_an_hour(
    jump: float, caplog: pytest.LogCaptureFixture
) -> None:
    """The reason is given and logged once."""
    clocks = Clocks()
    clock = clocks.retention()
    clocks.wall += jump
    assert clock.reference(1e12) is None
    assert f"{abs(jump) / 3600:,.1f} h {'ahead of' if jump > 0 else 'behind'} its expected time" in clock.paused
    clocks.pass_time(TRUSTED_AFTER_SECONDS - 1)
    assert clock.reference(1e12) is None
    assert len(caplog.records) == 1
    clocks.pass_time(2)
    assert clock.reference(1e12) == clocks.wall
    assert clock.paused == ""
    assert "trusted again" in caplog.text


def test_a_clock_that_comes_back_is_trusted_at_once(caplog: pytest.LogCaptureFixture) -> None:
    """It was wrong for 13 s."""
    clocks = Clocks()
    clock = clocks.retention()
    clocks.wall += 40 * DAY
    clock.reference(1e12)
    clocks.pass_time(13)
    clocks.wall -= 40 * DAY
    assert clock.reference(1e12) == clocks.wall
    assert clock.paused == ""
    assert "trusted again" in caplog.text


def test_a_second_jump_restarts_the_hour() -> None:
    """The clock has not settled."""
    clocks = Clocks()
    clock = clocks.retention()
    clocks.wall += DAY
    clock.reference(1e12)
    clocks.pass_time(TRUSTED_AFTER_SECONDS - 1)
    clocks.wall += DAY
    assert clock.reference(1e12) is None
    clocks.pass_time(TRUSTED_AFTER_SECONDS - 1)
    assert clock.reference(1e12) is None
    clocks.pass_time(1)
    assert clock.reference(1e12) == clocks.wall


def test_slow_corrections_of_the_clock_are_no_jump() -> None:
    """NTP slews it by hours in the course of months."""
    clocks = Clocks()
    clock = clocks.retention()
    for _ in range(100):
        clocks.pass_time(60)
        clocks.wall += JUMP_SECONDS
        assert clock.reference(1e12) == clocks.wall


def test_nothing_expires_in_the_first_hour(caplog: pytest.LogCaptureFixture) -> None:
    """The clock may be wrong since before the start. That is normal and no problem to report, unless it jumps."""
    clocks = Clocks()
    clock = TrustedClock(lambda: clocks.wall, lambda: clocks.steady)
    clocks.pass_time(TRUSTED_AFTER_SECONDS - 1)
    assert clock.reference(1e12) is None
    assert (clock.paused, caplog.text) == ("", "")
    clocks.wall -= 40 * DAY
    assert clock.reference(1e12) is None
    assert "960.0 h behind" in clock.paused
    clocks.pass_time(TRUSTED_AFTER_SECONDS)
    assert clock.reference(1e12) == clocks.wall
    assert clock.paused == ""


def test_a_clock_that_jumps_ahead_deletes_nothing_and_the_store_says_why(
    bench: Bench, scrape: Scrape, span: MakeSpan, values: Values
) -> None:
    """Scrapes of that time bear the wrong time as well. Also a restart amid the jump deletes nothing."""
    retention = Retention(metrics_seconds=10 * DAY, spans_seconds=2 * DAY)
    steady = [1_000.0]
    store = bench.open(retention=retention, monotonic=lambda: steady[0])
    store.append_samples([scrape(0)])
    store.append_spans([span()])
    store.maintain()
    bench.time += TRUSTED_AFTER_SECONDS
    steady[0] += TRUSTED_AFTER_SECONDS
    store.maintain()
    bench.time += 40 * DAY
    store.append_samples([scrape(1, seconds=40 * DAY)])
    store.maintain()
    assert "960.0 h ahead of its expected time" in store.stats().expiry_paused
    assert store.ready() == (True, "")
    store.close()
    store = bench.open(retention=retention, monotonic=lambda: steady[0])
    store.maintain()
    bench.time -= 40 * DAY
    store.maintain()
    assert "960.0 h behind" in store.stats().expiry_paused
    assert set(values(store, 1)) == {0}
    assert len(store.get(f"{1:032x}")) == 1


def test_a_suspended_machine_is_no_jump(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux' monotonic clock pauses meanwhile, the wall clock and the time since boot do not."""
    boot = [1_000.0]

    def clock(number: int) -> float:
        assert number == time.CLOCK_BOOTTIME
        return boot[0]

    monkeypatch.setattr(time, "clock_gettime", clock)
    for monotonic in (since_boot, Clock().monotonic):
        clock_of_store = TrustedClock(lambda: T + boot[0], monotonic)
        boot[0] += TRUSTED_AFTER_SECONDS
        assert clock_of_store.reference(1e12) is not None
        boot[0] += 8 * 3600
        assert clock_of_store.reference(1e12) is not None
        assert clock_of_store.paused == ""
    assert inspect.signature(Store.open).parameters["monotonic"].default is since_boot


def test_a_store_whose_senders_stopped_keeps_the_last_of_their_data(bench: Bench, scrape: Scrape) -> None:
    """As in Prometheus: what led to the silence stays readable."""
    store = bench.open(retention=Retention(metrics_seconds=100))
    store.append_samples([scrape(0)])
    store.maintain()
    for _ in range(100):
        bench.time += 100
        store.maintain()
    assert store.stats().blocks == 1
