"""How well the counters of waiting foretell what a service loses by not being alone."""

from __future__ import annotations

from typing import NamedTuple

from tests.exporter.whole.exposition import Values
from tests.gpu.card import value
from tests.gpu.tenant import Work

from foreshock_exporter.model import metrics


class Prediction(NamedTuple):
    """Of one service: the share of the time for which it is said to have waited, and of its throughput that it lost."""

    service: str
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        """By how much more was predicted than happened."""
        return self.predicted - self.measured

    def __str__(self) -> str:
        return (
            f"{self.service}: stalled {self.predicted:.1%} of the time as predicted, "
            f"{self.measured:.1%} of its throughput lost as measured, error {self.error:+.1%}"
        )


def gained(before: Values, after: Values, name: str, **labels: str) -> float:
    """How much a counter grew. A series that was not there before began at 0."""
    return (value(after, name, **labels) or 0.0) - (value(before, name, **labels) or 0.0)


def prediction(service: str, before: Values, after: Values, alone: Work, together: Work) -> Prediction:
    """Compare what the exporter said of the time two services ran together with what one got done, then and alone."""
    stalled = gained(before, after, metrics.STALLED.name, service_name=service)
    return Prediction(service, stalled / together.seconds, 1.0 - together.rate / alone.rate)
