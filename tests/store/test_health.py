"""The store's own state by itself: which failure is logged, and when the store is not ready."""

from __future__ import annotations

from pathlib import Path

import pytest

from foreshock_dashboard.store.health import NOT_READY_AFTER_SECONDS, Health, error_text


class Clock:
    """Seconds that the test sets."""

    time = 100.0

    def __call__(self) -> float:
        return self.time


def test_maintenance_that_fails_for_a_minute_ends_readiness_until_it_succeeds() -> None:
    """The minute is that since its last success."""
    clock = Clock()
    health = Health(Path("folder"), clock)
    health.failed(OSError("first"))
    clock.time += NOT_READY_AFTER_SECONDS - 1
    health.failed(OSError("second"))
    assert health.ready() == (True, "")
    clock.time += 1
    reason = "store folder: maintenance failed: OSError: second; retrying. Free space and check the disk"
    assert health.ready() == (False, reason)
    health.recovered()
    assert (health.ready(), health.maintenance_error) == ((True, ""), "")
    health.failed(OSError("third"))
    assert health.ready() == (True, "")


def test_a_refused_append_ends_readiness_at_once_and_its_reason_comes_first() -> None:
    clock = Clock()
    health = Health(Path("folder"), clock)
    health.failed(OSError("older"))
    clock.time += NOT_READY_AFTER_SECONDS
    health.append_error = "the disk is full"
    assert health.ready() == (False, "the disk is full")
    health.append_error = ""
    assert "older" in health.ready()[1]


def test_a_failure_is_logged_once_until_another_one(caplog: pytest.LogCaptureFixture) -> None:
    health = Health(Path("folder"), Clock())
    for text in ("one", "one", "two", "two", "one"):
        health.failed(OSError(text))
    assert [record.getMessage().partition("OSError: ")[2][:3] for record in caplog.records] == ["one", "two", "one"]
    health.recovered()
    health.failed(OSError("one"))
    assert len(caplog.records) == 4


@pytest.mark.parametrize(
    ("error", "text"),
    [(OSError("full"), "OSError: full"), (MemoryError(), "MemoryError"), (ValueError(""), "ValueError")],
)
def test_an_error_has_its_class_and_its_message(error: Exception, text: str) -> None:
    assert error_text(error) == text
