"""Operations that deviate more than their service: one slow operation of ten hides in the p95 of all requests.

An operation counts with as many requests as a service needs for a conclusion, or as many failures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from foreshock_dashboard.analysis.baseline.counts import MIN_REQUESTS, count_seconds, failures_conclude
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Bools
from foreshock_dashboard.model.world import Operation

MIN_OPERATION_Z = 3.0
"""Scales above the baseline from which an operation shows a symptom of its service."""
OPERATION_SIGNALS = {"p95": "operation_p95", "error_rate": "operation_error_rate"}
"""Signals of a service, and the same of its operations."""
Shown = tuple[str, Service | Operation]
"""A signal, and the service or operation that it is of."""


def counted_operations(point: EvaluationPoint) -> Bools:
    """Operations with enough requests, by row; memoize with `point.memo`."""
    counted: Bools = point["operation_rate"].value * count_seconds(point) >= MIN_REQUESTS
    return counted


def _worst_operations(point: EvaluationPoint) -> Mapping[str, Mapping[Service, Operation]]:
    """The worst operation of each service with a worse one, by signal of the service."""
    counted, worst = point.memo(counted_operations), dict[str, dict[Service, Operation]]()
    for name, of_operation in OPERATION_SIGNALS.items():
        z = point[of_operation].z
        enough = counted | failures_conclude(point, "operation_") if name == "error_rate" else counted
        with np.errstate(invalid="ignore"):
            rows = np.flatnonzero(enough & (z >= MIN_OPERATION_Z))
        ordered = [point.world.operations[row] for row in rows[np.argsort(z[rows], kind="stable")]]
        worst[name] = {operation.service: operation for operation in ordered}
    return worst


def symptoms(point: EvaluationPoint, name: str, service: Service) -> Sequence[Shown]:
    """A signal of a service, then that of its worst operation, if that deviates more."""
    operation = point.memo(_worst_operations).get(name, {}).get(service)
    whole: Shown = (name, service)
    if operation is None or point.z(OPERATION_SIGNALS[name], operation) <= point.z(name, service):
        return (whole,)
    return whole, (OPERATION_SIGNALS[name], operation)
