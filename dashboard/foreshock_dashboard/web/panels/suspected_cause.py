"""The suspected cause of an incident in words, with its place and its reason. Pure."""

from __future__ import annotations

import math

import numpy as np

from foreshock_dashboard.analysis.baseline.gpu_shares import GPU_SHARE
from foreshock_dashboard.analysis.baseline.signals import SIGNAL_BY_NAME
from foreshock_dashboard.model.incident import Evidence, Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.action import reasons_text
from foreshock_dashboard.render.clause import Clause, Text, place, text
from foreshock_dashboard.render.incident_summary import (
    candidate_clauses,
    cause_name,
    gpus_clause,
    hardware_xids,
    suspect_clauses,
)
from foreshock_dashboard.render.incident_text import figure
from foreshock_dashboard.render.metric_figure import split_share
from foreshock_dashboard.render.units import gpu_list, percent, rate, significant
from foreshock_dashboard.render.words.incidents import LOCAL_CAUSES

MAX_GPUS = 2
BASELINE_SECONDS = 900.0
"""Time before the first anomaly whose median is the baseline of a request rate."""


def suspected(item: Incident, world: World) -> Text:
    """The suspected cause with its place and reason; where it is not stated, the candidates."""
    if not item.is_cause_stated:
        return candidate_clauses(item) or text("unknown")
    why, own_signal = suspicion(item, world), _own_signal(item)
    suspect, own = item.suspect, item.suspect.service in (None, item.service)
    cause = cause_name(item)
    reason = f", {'its ' if own_signal else ''}{why}" if why else ""
    if own_signal and own_signal.name == GPU_SHARE and suspect.service and suspect.gpus:
        rise = f" rose from {percent(own_signal.baseline)} to {percent(own_signal.value)} of GPU time"
        return text(f"{cause}: ", suspect.service, f"{rise}{_past(item)} on ", _gpus(item, world))
    if own_signal and not own and own_signal.metric == "rate" and suspect.change is None:
        rise = f"{significant(own_signal.baseline)} to {figure(own_signal.value, own_signal.unit)}"
        peak = _peak_rate(item, world) if item.state != "firing" else ""
        reason = f", whose {peak or f'request rate rose from {rise}{_past(item)}'}"
    if suspect.change is not None:
        return text(f"{cause}: ", suspect_clauses(item), reason)
    parts: list[str | Service | Clause] = [cause]
    if suspect.service is not None and not own:
        parts += [": extra load from " if item.cause in ("overload", "scale_up_lag") else ": ", suspect.service]
    elif item.cause in LOCAL_CAUSES:
        parts += [" of ", item.service]
    if suspect.gpus:
        parts += [" on ", *_gpus(item, world)]
    elif suspect.host:
        parts += [" on ", place(suspect.host)]
    return text(*parts, reason)


def suspicion(item: Incident, world: World) -> str:
    """Why a service is the suspected cause: its anomalous signal, or the reason; "" without one besides the cause.

    Of load that is over, its peak. Of hardware, the XID error of its GPUs, which says more than what follows from it.
    """
    if xids := hardware_xids(item):
        return xids[0].name
    service = item.suspect.service
    if item.state != "firing" and item.cause in ("overload", "scale_up_lag") and (peak := _peak_rate(item, world)):
        return peak
    if item.cause == "gpu_contention" and any(row.entity == f"{service} -> {item.service}" for row in item.evidence):
        return "its requests delay others"
    past = _past(item)
    if (own := _own_signal(item)) is not None:
        name, of = split_share(own.name)
        share = f" of {of}" if of else ""
        return f"{name} {_figure(own.baseline, own.unit)} → {_figure(own.value, own.unit)}{share}{past}"
    reasons = next(
        (suspect.reasons for suspect in item.candidates if suspect.service == service and suspect.reasons), ()
    )
    if not any(reason.kind not in ("cause", "no_anomaly") for reason in reasons):
        return "request rate above baseline" if item.cause == "overload" else ""
    return f"{reasons_text(reason._replace(since=math.nan) for reason in reasons)}{past}"


def _peak_rate(item: Incident, world: World) -> str:
    """The request rate of the suspected service at its worst: `request rate peaked at 30 req/s (baseline 5 req/s)`.

    Empty where it is unknown, or did not rise.
    """
    if item.suspect.service not in world.services:
        return ""
    start, end = np.searchsorted(world.times, (item.since, item.recovering_since or world.time)).tolist()
    during = world.red.rate[world.services.index(item.suspect.service), start : end + 1].astype(np.float64)
    peaked, baseline = np.nan_to_num(during).max(initial=0.0), baseline_rate(item, world, item.suspect.service)
    return f"request rate peaked at {rate(peaked)} (baseline {rate(baseline)})" if peaked > baseline else ""


def baseline_rate(item: Incident, world: World, service: Service) -> float:
    """The normal request rate of a service in req/s: that of the evidence, else the median before; NaN if unknown."""
    known = (row.baseline for row in item.evidence if row.entity == str(service) and row.metric == "rate")
    if math.isfinite(baseline := next(known, math.nan)):
        return baseline
    start = int(np.searchsorted(world.times, item.since))
    columns = slice(max(0, start - world.points(BASELINE_SECONDS)), start)
    before = world.red.rate[world.services.index(service), columns].astype(np.float64)
    return float(np.nanmedian(before)) if np.isfinite(before).any() else math.nan


def _past(item: Incident) -> str:
    return " during the incident" if item.state == "recovering" else ""


def _gpus(item: Incident, world: World) -> Text:
    """The GPUs of the suspected cause; of a noisy neighbor, as a part of those of the affected service."""
    gpus = gpus_clause(item)._replace(text=gpu_list(item.suspect.gpus, MAX_GPUS))
    affected = len({tenant.gpu for tenant in world.tenants if tenant.service == item.service})
    if item.cause != "gpu_contention" or affected <= len(item.suspect.gpus):
        return text(gpus)
    if len(item.suspect.gpus) > MAX_GPUS:
        return text(gpus._replace(text=f"{len(item.suspect.gpus)} of"), " ", item.service, f"'s {affected} GPUs")
    return text(gpus, " (of ", item.service, f"'s {affected} GPUs)")


def _own_signal(item: Incident) -> Evidence | None:
    """The anomalous signal of the suspected service itself that is the reason to suspect it."""
    service = item.suspect.service
    if hardware_xids(item):
        return None
    if item.cause == "gpu_contention" and any(row.entity == f"{service} -> {item.service}" for row in item.evidence):
        return None
    return next((row for row in item.evidence if row.entity == str(service) and _explains(row, item)), None)


def _explains(row: Evidence, item: Incident) -> bool:
    """Whether an anomaly of another service is a reason to suspect it; the latency of a caller follows an overload."""
    if row.entity == str(item.service):
        return False
    return item.cause != "overload" or row.name == SIGNAL_BY_NAME["rate"].text


def _figure(value: float, unit: str) -> str:
    return percent(value) if unit == "ratio" else figure(value, unit)
