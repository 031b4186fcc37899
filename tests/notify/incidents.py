"""Incidents as the analysis reports them, and a hub's time, for tests of notifications."""

from __future__ import annotations

import math
from typing import Any

from foreshock_dashboard.model.action import Action, Effect
from foreshock_dashboard.model.incident import Incident, Summary, SuspectedCause, Symptom
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Gpu

NOW = 1_800_000_000.0
CHAT, BATCH = Service("serving", "llm-chat"), Service("ml", "batch-embed")
GPU = Gpu("host-1", "0", "GPU-1")
ACTION = Action(
    "move_off_gpus",
    BATCH,
    gpus=(GPU,),
    effect=Effect("p95", CHAT, "s", 14.6, 9.2, 17.3, "slo"),
    effective_seconds=60.0,
)


def incident(**changes: Any) -> Incident:  # noqa: ANN401
    """An open incident that has paged."""
    values: dict[str, Any] = {
        "id": "20270115T080000Z-serving.llm-chat",
        "severity": "critical",
        "state": "firing",
        "cause": "gpu_contention",
        "service": CHAT,
        "since": NOW - 60,
        "opened": NOW - 30,
        "paged": NOW - 10,
        "suspect": SuspectedCause(BATCH, (GPU,)),
        "affected": (CHAT,),
        "confidence": 0.9,
        "actions": (ACTION,),
        "summary": Summary(Symptom("p95", 14.6, 10.8, 17.3), math.nan),
    }
    return Incident(**{**values, **changes})


def warning(**changes: Any) -> Incident:  # noqa: ANN401
    """An early warning: an open incident that has not paged."""
    return incident(severity="warning", paged=None, **changes)


def resolved(**changes: Any) -> Incident:  # noqa: ANN401
    """An incident that is over."""
    return incident(state="resolved", resolved=NOW, **changes)
