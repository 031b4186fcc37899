"""The hub's capacity forecast is computed apart from evaluations, and a failure keeps the last one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.web.worlds import healthy_world

from foreshock_dashboard.hub import capacity
from foreshock_dashboard.hub.capacity import CapacityForecaster
from foreshock_dashboard.hub.memory import Memory
from foreshock_dashboard.model.capacity.load import LoadKind, Subject
from foreshock_dashboard.model.incident import Learning
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.settings.settings import Settings

KEY = (Subject(Service("", "chat-api"), ""), LoadKind.REQUESTS)
NO_WORLD = Snapshot(0, None, (), Learning(0.0, 1.0))
HEALTHY = replace(NO_WORLD, world=healthy_world())


class History:
    """A history of two days, or a source that fails."""

    end = 1_767_571_200.0
    error: Exception | None = None
    slow_burns_error = ""

    def read(self, now: float) -> Iterator[float]:
        """One piece."""
        if self.error:
            raise self.error
        yield now

    def loads(self) -> dict[Any, Any]:
        """Of one service."""
        return {KEY: np.full(288, 5.0, np.float32)}

    def servers(self) -> dict[Any, Any]:
        """None."""
        return {}

    def uses(self) -> dict[Any, Any]:
        """None."""
        return {}

    def budgets(self) -> dict[Any, Any]:
        """None."""
        return {}


@pytest.fixture(name="forecaster")
def _forecaster(monkeypatch: pytest.MonkeyPatch) -> CapacityForecaster:
    monkeypatch.setattr(capacity, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(capacity, "CapacityHistory", lambda *_: History())
    return CapacityForecaster(None, Memory(Settings().memory_limit), threading.Event())  # type: ignore[arg-type]


def test_nothing_is_forecast_before_the_first_evaluation(forecaster: CapacityForecaster) -> None:
    """Only a World says what services carry."""
    assert not forecaster.refresh(History.end, NO_WORLD)
    assert not forecaster.current.is_known


def test_a_failure_keeps_the_last_forecast(forecaster: CapacityForecaster, monkeypatch: pytest.MonkeyPatch) -> None:
    """It becomes its error until the next attempt succeeds."""
    assert forecaster.refresh(History.end, HEALTHY)
    loads = forecaster.current.loads
    assert [(load.subject.service, load.kind) for load in loads] == [(KEY[0].service, KEY[1])]
    errors: tuple[Callable[[], Exception], ...] = (lambda: SourceError("away"), lambda: ValueError("broken"))
    for error in errors:
        monkeypatch.setattr(History, "error", error())
        assert not forecaster.refresh(History.end, HEALTHY)
        assert forecaster.current.loads is loads
        assert str(error()) in forecaster.current.error
    assert not forecaster.refresh(History.end + 4 * 3600, HEALTHY)
    assert not forecaster.current.loads, "after hours, an old forecast is none"
    monkeypatch.setattr(History, "error", None)
    assert forecaster.refresh(History.end, HEALTHY)
    assert not forecaster.current.error
