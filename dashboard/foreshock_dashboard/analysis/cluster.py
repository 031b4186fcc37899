"""Readings → replicas that are wanted and there, by service, and what quotas allow, by pool."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.rows import Named, keys_of, rows_of
from foreshock_dashboard.model.capacity import Capacity
from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.readings import Readings
from foreshock_dashboard.model.service import Service

Workload = Service
"""A deployment or stateful set: namespace and name, as of a service."""

_SUFFIX = re.compile(r"-(\d+|[a-z0-9]{5}|[a-f0-9]{6,10}-[a-z0-9]{5}|[a-z0-9]{9,10}-[a-z0-9]{5})$")
"""What Kubernetes adds to a workload's name for a pod: an ordinal, or the hashes of replica set and pod."""


class Quota(NamedTuple):
    """One resource quota."""

    namespace: str
    name: str


def namespace_of(labels: Named) -> str:
    """The namespace told, not that of who tells it."""
    return labels.get("exported_namespace") or labels.get("namespace", "")


def deployments_of(readings: Readings) -> frozenset[Workload]:
    """The deployments and stateful sets that the cluster has."""
    return frozenset(keys_of([readings["specified"], readings["ready"]], _deployment))


def workloads(known: Iterable[Workload]) -> Callable[[Named], str]:
    """A function that names the workload of a pod: the longest known name that the pod's begins with, in its namespace.

    Where the cluster tells of none, the pod's name without what Kubernetes adds to it.
    """
    names: dict[str, list[str]] = {}
    for workload in sorted(known, key=lambda each: -len(each.name)):
        names.setdefault(workload.namespace, []).append(workload.name)

    def of(labels: Named) -> str:
        pod = labels.get("exported_pod") or labels.get("pod", "")
        for name in names.get(namespace_of(labels), ()):
            if pod.startswith(f"{name}-"):
                return name
        return _SUFFIX.sub("", pod)

    return of


def capacity_of(readings: Readings, known: Iterable[Service]) -> Capacity | None:
    """Arrange what the cluster tells; None where it tells nothing. `known`: the services that others tell of."""
    deployments = deployments_of(readings)
    targets = _scaled(readings["scaler_target"])
    pod_of = workloads(deployments)

    def scaled(labels: Named) -> Workload:
        scaler = Workload(namespace_of(labels), labels.get("horizontalpodautoscaler", ""))
        return targets.get(scaler, scaler)

    def pod(labels: Named) -> Workload | None:
        workload = Workload(namespace_of(labels), pod_of(labels))
        return workload if workload in deployments else None

    scalers = keys_of([readings["scaler_wanted"], readings["scaler_most"]], scaled)
    everything = sorted(deployments | set(scalers))
    quotas = keys_of([readings["quota"]], _quota)
    if not everything and not quotas:
        return None
    wanted, most = (rows_of(readings[key], everything, scaled) for key in ("scaler_wanted", "scaler_most"))
    specified, ready = (rows_of(readings[key], everything, _deployment) for key in ("specified", "ready"))
    return Capacity(
        services=served(everything, known),
        wanted=np.where(np.isnan(wanted), specified, wanted),
        ready=ready,
        most=most,
        pending=rows_of(readings["pending"], everything, pod),
        pools=_pools(quotas),
        quota=rows_of(readings["quota"], quotas, lambda labels: _quota(labels, "hard")),
        used=rows_of(readings["quota"], quotas, lambda labels: _quota(labels, "used")),
    )


def served(everything: Sequence[Workload], known: Iterable[Service]) -> tuple[Service, ...]:
    """The service that each workload serves.

    Of the services known: the one of that namespace and name, else the only one of that name, if no other workload has
    it; else the workload stands for itself.
    """
    services = frozenset(known)
    by_name: dict[str, list[Service]] = {}
    for service in services:
        by_name.setdefault(service.name, []).append(service)
    names = [workload.name for workload in everything]

    def of(workload: Workload) -> Service:
        alone = by_name.get(workload.name, [])
        if workload in services or len(alone) != 1 or names.count(workload.name) > 1:
            return workload
        return alone[0]

    return tuple(map(of, everything))


def _deployment(labels: Named) -> Workload | None:
    name = labels.get("deployment", "")
    return Workload(namespace_of(labels), name) if name else None


def _scaled(told: Matrix) -> dict[Workload, Workload]:
    """What each autoscaler scales."""
    found = {}
    for labels in map(dict, told.labels):
        namespace = namespace_of(labels)
        if target := labels.get("scaletargetref_name"):
            found[Workload(namespace, labels.get("horizontalpodautoscaler", ""))] = Workload(namespace, target)
    return found


def _quota(labels: Named, kind: str = "") -> Quota | None:
    if kind and labels.get("type") != kind:
        return None
    return Quota(namespace_of(labels), labels.get("resourcequota", ""))


def _pools(quotas: Sequence[Quota]) -> tuple[str, ...]:
    """The quotas' names, with the namespace where several have one of that name."""
    names = [quota.name for quota in quotas]
    return tuple(f"{each.namespace}/{each.name}" if names.count(each.name) > 1 else each.name for each in quotas)
