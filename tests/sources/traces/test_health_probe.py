"""Whether another system answers, as the hub follows it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import closing

import pytest

from foreshock_dashboard.sources.traces.source import HealthProbe

Eventually = Callable[..., None]


def test_the_probe_keeps_the_last_error(eventually: Eventually, caplog: pytest.LogCaptureFixture) -> None:
    """It is said once when it changes, not each time."""
    answers = ["away", "away", "away", ""]
    asked = []

    def probe() -> str:
        asked.append(1)
        return answers[min(len(asked), len(answers)) - 1]

    with caplog.at_level(logging.INFO), closing(HealthProbe(probe, 0.001)) as watch:
        assert watch.error == ""
        watch.start()
        eventually(lambda: len(asked) > 5, "it asks again and again")
        assert watch.error == ""
    assert [record.message for record in caplog.records] == ["away", "it answers again, after: away"]


def test_a_probe_that_fails_does_not_end_it(eventually: Eventually) -> None:
    """Whatever it raises."""
    asked = []

    def probe() -> str:
        asked.append(1)
        raise RuntimeError("odd")

    with closing(HealthProbe(probe, 0.001)) as watch:
        watch.start()
        eventually(lambda: len(asked) > 2, "it asks again")
        assert watch.error == "probe failed: odd"


def test_it_ends_although_an_answer_is_on_its_way() -> None:
    """A hub that is stopped does not wait for a system that hangs."""
    begun, free = threading.Event(), threading.Event()

    def probe() -> str:
        begun.set()
        free.wait(30)
        return ""

    watch = HealthProbe(probe, 0.001)
    watch.close()
    watch = HealthProbe(probe, 0.001)
    watch.start()
    assert begun.wait(30)
    watch.close()
    assert not free.is_set()
    free.set()
