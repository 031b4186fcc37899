"""XID errors of the GPUs of services, as evidence of an incident."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import hardware
from foreshock_dashboard.model.action import Action, Reason
from foreshock_dashboard.model.incident import NO_FIRST_STEP, Evidence, Xid
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_dashboard.model.world_sections import XidCounter
from foreshock_exporter.model.xid_catalog import xid_info

XID_LEAD_SECONDS = 300.0
"""Time before the first anomaly of an incident from which on XID errors are evidence: a service fails at once, and a
crashed model server is loaded again for minutes."""
MAX_XIDS = 4
"""XID errors in the evidence, the most severe first."""
SEVERITIES = ("fatal", "hardware", "application")
"""Severities that affect services; an informational XID is no fault."""


def xid_evidence(point: EvaluationPoint, services: Collection[Service], start: float) -> tuple[Evidence, ...]:
    """The XID errors that can have affected the services since shortly before `start`, Unix seconds.

    Hardware errors affect all services on the GPU. Errors of applications affect those to which the kernel log
    attributes them; where it attributes none, the only service on the GPU.
    """
    if not hardware(point.world).xids:
        return ()
    first = int(np.searchsorted(point.world.times, start - XID_LEAD_SECONDS))
    columns = slice(min(first, point.column), point.column + 1)
    tenants, new = _tenants(point, columns), new_xids(point.world, columns)
    found = []
    for counter, steps in new.items():
        name, severity, action = xid_info(counter.xid)
        here = tenants.get(counter.gpu, frozenset())
        if severity == "application":
            named = {other.service for other in new if other[:2] == counter[:2] and other.service}
            here = frozenset(named) or (here if len(here) == 1 else frozenset())
        if counter.service or severity not in SEVERITIES or here.isdisjoint(services):
            continue
        since = float(point.world.times[columns][np.flatnonzero(steps)[0]])
        xid = Xid(counter.xid, name, severity, action)
        text = f"XID {xid.number} ({name})"
        found.append(Evidence(text, float(steps.sum()), 0.0, "", since, counter.gpu, xid=xid))
    found.sort(key=lambda item: (SEVERITIES.index(item.xid.severity) if item.xid else 0, item.since, item.entity))
    return tuple(found[:MAX_XIDS])


def with_xid_reason(actions: Sequence[Action], evidence: Sequence[Evidence]) -> tuple[Action, ...]:
    """The actions; those on GPUs without a reason have the first step against the most severe XID error of the GPUs."""

    def explained(action: Action) -> Action:
        labels = {gpu.label for gpu in action.gpus}
        xids = (item.xid for item in evidence if item.xid and item.entity in labels)
        xid = next((xid for xid in xids if xid.action not in NO_FIRST_STEP), None)
        if xid is None or action.kind not in ("drain_gpus", "inspect_gpus") or action.reason is not None:
            return action
        return action._replace(reason=Reason("xid", name=xid.action, value=float(xid.number)))

    return tuple(map(explained, actions))


def new_xids(world: World, columns: slice) -> dict[XidCounter, Floats]:
    """Increments by column of the counters that grew. A counter appears with its first error, on a GPU known before."""
    health, row_of = hardware(world), {gpu.label: row for row, gpu in enumerate(world.gpus)}
    found = {}
    for counter, values in zip(health.xids, health.xid_errors[:, columns].astype(np.float64), strict=True):
        seen = np.isfinite(world.utilization[row_of[counter.gpu], columns]) if counter.gpu in row_of else False
        counts = np.where(np.isnan(values) & seen, 0.0, values)
        known = np.flatnonzero(np.isfinite(counts))
        steps = np.diff(counts[known])
        increments = np.zeros(len(values))
        increments[known[1:]] = np.where(steps < 0, counts[known[1:]], steps)  # a restart begins at 0
        if increments.any():
            found[counter] = increments
    return found


def _tenants(point: EvaluationPoint, columns: slice) -> dict[str, frozenset[Service]]:
    """Services on each GPU in the columns, by its label."""
    world = point.world
    present = np.isfinite(world.memory[:, columns]).any(axis=1) | np.isfinite(world.busy[:, columns]).any(axis=1)
    found: dict[str, set[Service]] = {}
    for row in np.flatnonzero(present).tolist():
        found.setdefault(world.tenants[row].gpu.label, set()).add(world.tenants[row].service)
    return {label: frozenset(services) for label, services in found.items()}
