"""Rows of workloads (replicas desired and ready) and of GPU quotas."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence, Set
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.capacity import Capacity
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.world.catalogue.catalogue import Readings
from foreshock_dashboard.world.row_math import LabelFacts, LabelMap
from foreshock_dashboard.world.section import Section
from foreshock_dashboard.world.sections import Growth, Sections

Workload = Service
"""A Deployment or StatefulSet: namespace and name."""

_SAFE = "[bcdfghjklmnpqrstvwxz2456789]"
"""Alphabet of Kubernetes' hashes (k8s.io/apimachinery/pkg/util/rand)."""
_SUFFIX = re.compile(rf"-(\d+|{_SAFE}{{5}}|{_SAFE}{{6,10}}-{_SAFE}{{5}})$")
"""Suffix of a pod name: an ordinal, or the hashes of ReplicaSet and pod."""
SCALER_READINGS = ("scaler_wanted", "scaler_most")
DEPLOYMENT_READINGS = ("specified", "ready")


class Quota(NamedTuple):
    """A ResourceQuota."""

    namespace: str
    name: str


class ClusterRows:
    """Rows of workloads and quotas."""

    def __init__(self, sections: Sections) -> None:
        self.workloads: Section[Workload] = sections.new(tuple)
        self.quotas: Section[Quota] = sections.new(tuple)
        self._targets: LabelFacts[Workload, Workload] = LabelFacts(_scaled)
        self._deployments: LabelFacts[Workload, bool] = LabelFacts(_deployed)
        self._services: tuple[Sequence[Workload], Set[Service], tuple[Service, ...]] = ((), frozenset(), ())

    def update(self, readings: Readings, since: float) -> bool:
        """Register the entities of new readings; return whether new workloads appeared."""
        new = self._deployments.update(*(readings[key] for key in DEPLOYMENT_READINGS))
        if self._targets.update(readings["scaler_target"]):
            self.workloads.forget(*SCALER_READINGS)
        if new:
            self.workloads.forget("pending")
        for key in DEPLOYMENT_READINGS:
            self.workloads.update(key, readings[key], _deployment)
        for key in SCALER_READINGS:
            self.workloads.update(key, readings[key], self._scaled)
        self.quotas.update("quota", readings["quota"], _quota)
        self.workloads.drop_idle(since)
        self.quotas.drop_idle(since)
        return new

    def columns(self, readings: Readings) -> Growth:
        """New columns of every figure."""
        wanted, max_replicas = (self.workloads.rows(key, readings[key], self._scaled) for key in SCALER_READINGS)
        specified, ready = (self.workloads.rows(key, readings[key], _deployment) for key in DEPLOYMENT_READINGS)
        replicas = {
            "wanted": np.where(np.isnan(wanted), specified, wanted),
            "ready": ready,
            "max_replicas": max_replicas,
            "pending": self.workloads.rows("pending", readings["pending"], self._pod),
        }
        gpus = {
            "quota": self.quotas.rows("hard", readings["quota"], lambda labels: _quota(labels, "hard")),
            "used": self.quotas.rows("used", readings["quota"], lambda labels: _quota(labels, "used")),
        }
        return [(self.workloads, replicas), (self.quotas, gpus)]

    def capacity(self, known: Set[Service]) -> Capacity | None:
        """Capacity by service and pool; None without any. `known`: services from other readings."""
        workloads, quotas = self.workloads.keys, self.quotas.keys
        if not workloads and not quotas:
            return None
        if self._services[0] is not workloads or self._services[1] is not known:
            self._services = (workloads, known, services_of(workloads, known))
        return Capacity(
            services=self._services[2],
            **{key: self.workloads[key] for key in ("wanted", "ready", "max_replicas", "pending")},
            pools=_pools(quotas),
            quota=self.quotas["quota"],
            used=self.quotas["used"],
        )

    def workload_of(self, labels: LabelMap) -> str:
        """Workload name of a pod; see `workload_of`."""
        return workload_of(labels, self._deployments.facts.keys())

    def _scaled(self, labels: LabelMap) -> Workload:
        scaler = Workload(namespace_of(labels), labels.get("horizontalpodautoscaler", ""))
        return self._targets.facts.get(scaler, scaler)

    def _pod(self, labels: LabelMap) -> Workload | None:
        workload = Workload(namespace_of(labels), self.workload_of(labels))
        return workload if workload in self._deployments.facts else None


def namespace_of(labels: LabelMap) -> str:
    """Namespace of the object, not of the exporter that reports it."""
    return labels.get("exported_namespace") or labels.get("namespace", "")


def workload_of(labels: LabelMap, known: Collection[Workload]) -> str:
    """Workload name of a pod: the longest known workload in its namespace that prefixes the pod name.

    Without a known workload, the pod name without its Kubernetes suffix.
    """
    pod, namespace = labels.get("exported_pod") or labels.get("pod", ""), namespace_of(labels)
    name = pod
    while "-" in name:
        name = name.rpartition("-")[0]
        if Workload(namespace, name) in known:
            return name
    return _SUFFIX.sub("", pod)


def services_of(workloads: Sequence[Workload], known: Set[Service]) -> tuple[Service, ...]:
    """Service of each workload.

    The known service with the same namespace and name, else the only service of that name if no other workload shares
    the name, else the workload itself.
    """
    by_name: dict[str, list[Service]] = {}
    for service in known:
        by_name.setdefault(service.name, []).append(service)
    names = Counter(workload.name for workload in workloads)

    def of(workload: Workload) -> Service:
        candidates = by_name.get(workload.name, [])
        if workload in known or len(candidates) != 1 or names[workload.name] > 1:
            return workload
        return candidates[0]

    return tuple(map(of, workloads))


def _deployment(labels: LabelMap) -> Workload | None:
    name = labels.get("deployment", "")
    return Workload(namespace_of(labels), name) if name else None


def _deployed(labels: LabelMap) -> tuple[Workload, bool] | None:
    workload = _deployment(labels)
    return (workload, True) if workload else None


def _scaled(labels: LabelMap) -> tuple[Workload, Workload] | None:
    """Autoscaler and its target."""
    namespace, target = namespace_of(labels), labels.get("scaletargetref_name")
    scaler = Workload(namespace, labels.get("horizontalpodautoscaler", ""))
    return (scaler, Workload(namespace, target)) if target else None


def _quota(labels: LabelMap, kind: str = "") -> Quota | None:
    if kind and labels.get("type") != kind:
        return None
    return Quota(namespace_of(labels), labels.get("resourcequota", ""))


def _pools(quotas: Sequence[Quota]) -> tuple[str, ...]:
    """Names of the quotas, with the namespace where a name is not unique."""
    names = Counter(quota.name for quota in quotas)
    return tuple(f"{quota.namespace}/{quota.name}" if names[quota.name] > 1 else quota.name for quota in quotas)
