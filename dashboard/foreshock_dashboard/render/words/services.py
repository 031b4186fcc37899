"""Words of services: health, stage, condition, and SLO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from foreshock_dashboard.model.types import ConditionKind, Health, Stage

HEALTHS: Mapping[Health, str] = {
    "ok": "Healthy",
    "warning": "Warning",
    "critical": "Critical",
    "idle": "No inbound requests",
    "unknown": "No data",
}
STAGES: Mapping[Stage, str] = {
    "healthy": "Healthy",
    "early_warning": "Anomalous",
    "degraded": "Degraded",
    "breached": "SLO breach",
}
PAST_STAGES: Mapping[Stage, str] = {
    "healthy": "",
    "early_warning": "was anomalous",
    "degraded": "was degraded",
    "breached": "had breached SLO",
}
"""What a recovered service was, after `Recovered`."""
CONDITIONS: Mapping[ConditionKind, str] = {
    "healthy": "Healthy",
    "affected": "Affected",
    "recovering": "Recovering",
    "at_risk": "At risk",
    "suspected_cause": "Suspected cause",
    "errors": "Errors",
    "anomalous": "Anomalous",
    "degraded": "Degraded",
    "slo_breach": "SLO breach",
    "low_traffic": "Low traffic",
    "no_baseline": "No baseline yet",
    "no_traffic": "No inbound requests",
    "no_data": "No data",
}
CONDITION_NOTES: Mapping[str, str] = {
    "baseline": "expected in {minutes} min",
    "gpus": "uses {gpus}",
    "idle_gpus": "idle on {gpus}",
}
"""What follows a condition of a service without a baseline, or without requests, after a semicolon."""
SLO_COUNTS: Mapping[str, str] = {
    "breached": "breached",
    "degraded": "degraded",
    "at_risk": "at risk",
    "within": "within SLO",
    "few": "with low traffic",
    "without": "without an SLO",
    "unknown": "without data",
}
"""Services by the state of their SLO, after their number."""
SLO_NAMES: Mapping[Literal["set", "learned"], str] = {"set": "SLO", "learned": "learned SLO"}
SERVICE_HINTS: Mapping[str, str] = {
    "load": "offered load of its model servers divided by their capacity",
    "gpu_wait": "share of time spent waiting on other services (upper bound, averaged over its shared GPUs)",
    "retries": "attempts per call beyond the first",
    "not_judged": "dotted line: low traffic, not judged",
}
"""What a value of a service is, by metric."""
