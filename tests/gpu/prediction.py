"""Accuracy of GPU wait as a prediction of lost throughput."""

from __future__ import annotations

from typing import NamedTuple

from tests.exporter.whole.exposition import Values
from tests.gpu.card import value
from tests.gpu.tenant import Work

from foreshock_exporter.model import metrics


class Prediction(NamedTuple):
    """Stalled share of time and lost share of throughput of one service."""

    service: str
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        """By how much more was predicted than happened."""
        return self.predicted - self.measured

    def __str__(self) -> str:
        return (
            f"{self.service}: gpu_wait {self.predicted:.1%} of the time as predicted, "
            f"{self.measured:.1%} of its throughput lost as measured, error {self.error:+.1%}"
        )


def gained(before: Values, after: Values, name: str, **labels: str) -> float:
    """How much a counter grew. A series that was not there before began at 0."""
    return (value(after, name, **labels) or 0.0) - (value(before, name, **labels) or 0.0)


def prediction(service: str, before: Values, after: Values, alone: Work, together: Work) -> Prediction:
    """Compare GPU wait while two services ran together with the throughput of one, together and alone."""
    gpu_wait = gained(before, after, metrics.SERVICE_WAIT.name, service_name=service)
    return Prediction(service, gpu_wait / together.seconds, 1.0 - together.rate / alone.rate)
