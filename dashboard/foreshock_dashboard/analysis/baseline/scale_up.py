"""The time that a further replica takes, from earlier scale-ups of the service."""

from __future__ import annotations

import math

import numpy as np

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import capacity
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats

DEFAULT_DELAY_SECONDS = 420.0
"""Assumed delay of a replica without measured scale-ups: cluster autoscalers take 4 to 10 minutes."""


def scale_up_seconds(point: EvaluationPoint, service: Service) -> float:
    """Median seconds from the request to the readiness of a replica in earlier scale-ups; the default without any."""
    state, history = capacity(point.world), slice(0, point.column + 1)
    if service not in state.services:
        return DEFAULT_DELAY_SECONDS
    row = state.services.index(service)
    delays = scale_up_delays(state.wanted[row, history], state.ready[row, history], point.world.step)
    return float(np.median(delays)) if len(delays) else DEFAULT_DELAY_SECONDS


def scale_up_delays(wanted: Floats, ready: Floats, step: float) -> Floats:
    """Seconds from the request to the readiness of each further replica, shape (replicas,).

    wanted, ready: shape (times,). Replicas that are not ready yet, or were canceled before, are left out.
    """
    delays: list[float] = []
    requested_at: dict[int, int] = {}
    previous = math.nan
    for i, (want, have) in enumerate(zip(wanted.tolist(), ready.tolist(), strict=True)):
        if math.isnan(want) or math.isnan(have):
            continue
        completed = [replica for replica in requested_at if replica <= have]
        delays.extend((i - requested_at.pop(replica)) * step for replica in completed)
        for replica in [replica for replica in requested_at if replica > want]:
            del requested_at[replica]
        if not math.isnan(previous):
            requested_at |= dict.fromkeys(range(math.floor(max(previous, have)) + 1, math.floor(want) + 1), i)
        previous = want
    return np.array(delays)
