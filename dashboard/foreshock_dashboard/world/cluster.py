"""Readings → replicas that are wanted and there, by service, and what quotas allow, by pool."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence, Set
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.capacity import Capacity
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.world.catalogue.catalogue import Readings
from foreshock_dashboard.world.row_math import Named, Told
from foreshock_dashboard.world.section import Section
from foreshock_dashboard.world.sections import Growth, Sections

Workload = Service
"""A deployment or stateful set: namespace and name, as of a service."""

_SAFE = "[bcdfghjklmnpqrstvwxz2456789]"
"""Letters of Kubernetes' hashes (k8s.io/apimachinery/pkg/util/rand)."""
_SUFFIX = re.compile(rf"-(\d+|{_SAFE}{{5}}|{_SAFE}{{6,10}}-{_SAFE}{{5}})$")
"""What Kubernetes adds to a workload's name for a pod: an ordinal, or the hashes of replica set and pod."""
SCALED = ("scaler_wanted", "scaler_most")
DEPLOYED = ("specified", "ready")


class Quota(NamedTuple):
    """One resource quota."""

    namespace: str
    name: str


class Cluster:
    """Rows of workloads and quotas."""

    def __init__(self, sections: Sections) -> None:
        self.workloads: Section[Workload] = sections.new(tuple)
        self.quotas: Section[Quota] = sections.new(tuple)
        self._targets: Told[Workload, Workload] = Told(_scaled)
        self._deployments: Told[Workload, bool] = Told(_deployed)
        self._served: tuple[Sequence[Workload], Set[Service], tuple[Service, ...]] = ((), frozenset(), ())

    def meet(self, readings: Readings, since: float) -> bool:
        """Name what is told of; whether there are workloads that were not there before."""
        new = self._deployments.meet(*(readings[key] for key in DEPLOYED))
        if self._targets.meet(readings["scaler_target"]):
            self.workloads.forget(*SCALED)
        if new:
            self.workloads.forget("pending")
        for key in DEPLOYED:
            self.workloads.meet(key, readings[key], _deployment)
        for key in SCALED:
            self.workloads.meet(key, readings[key], self._scaled)
        self.quotas.meet("quota", readings["quota"], _quota)
        self.workloads.settle(since)
        self.quotas.settle(since)
        return new

    def arrange(self, readings: Readings) -> Growth:
        """What is told, as rows."""
        wanted, most = (self.workloads.rows(key, readings[key], self._scaled) for key in SCALED)
        specified, ready = (self.workloads.rows(key, readings[key], _deployment) for key in DEPLOYED)
        replicas = {
            "wanted": np.where(np.isnan(wanted), specified, wanted),
            "ready": ready,
            "most": most,
            "pending": self.workloads.rows("pending", readings["pending"], self._pod),
        }
        gpus = {
            "quota": self.quotas.rows("hard", readings["quota"], lambda labels: _quota(labels, "hard")),
            "used": self.quotas.rows("used", readings["quota"], lambda labels: _quota(labels, "used")),
        }
        return [(self.workloads, replicas), (self.quotas, gpus)]

    def told(self, known: Set[Service]) -> Capacity | None:
        """What the cluster tells; None where it tells nothing. `known`: the services that others tell of."""
        workloads, quotas = self.workloads.keys, self.quotas.keys
        if not workloads and not quotas:
            return None
        if self._served[0] is not workloads or self._served[1] is not known:
            self._served = (workloads, known, served(workloads, known))
        return Capacity(
            services=self._served[2],
            **{key: self.workloads[key] for key in ("wanted", "ready", "most", "pending")},
            pools=_pools(quotas),
            quota=self.quotas["quota"],
            used=self.quotas["used"],
        )

    def workload_of(self, labels: Named) -> str:
        """The name of a pod's workload: see `workload_of`."""
        return workload_of(labels, self._deployments.found.keys())

    def _scaled(self, labels: Named) -> Workload:
        scaler = Workload(namespace_of(labels), labels.get("horizontalpodautoscaler", ""))
        return self._targets.found.get(scaler, scaler)

    def _pod(self, labels: Named) -> Workload | None:
        workload = Workload(namespace_of(labels), self.workload_of(labels))
        return workload if workload in self._deployments.found else None


def namespace_of(labels: Named) -> str:
    """The namespace told, not that of who tells it."""
    return labels.get("exported_namespace") or labels.get("namespace", "")


def workload_of(labels: Named, known: Collection[Workload]) -> str:
    """The workload of a pod: the longest known name that the pod's begins with, in its namespace.

    Where the cluster tells of none, the pod's name without what Kubernetes adds to it.
    """
    pod, namespace = labels.get("exported_pod") or labels.get("pod", ""), namespace_of(labels)
    name = pod
    while "-" in name:
        name = name.rpartition("-")[0]
        if Workload(namespace, name) in known:
            return name
    return _SUFFIX.sub("", pod)


def served(workloads: Sequence[Workload], known: Set[Service]) -> tuple[Service, ...]:
    """The service that each workload serves.

    Of the services known: the one of that namespace and name, else the only one of that name, if no other workload has
    it; else the workload stands for itself.
    """
    by_name: dict[str, list[Service]] = {}
    for service in known:
        by_name.setdefault(service.name, []).append(service)
    names = Counter(workload.name for workload in workloads)

    def of(workload: Workload) -> Service:
        alone = by_name.get(workload.name, [])
        if workload in known or len(alone) != 1 or names[workload.name] > 1:
            return workload
        return alone[0]

    return tuple(map(of, workloads))


def _deployment(labels: Named) -> Workload | None:
    name = labels.get("deployment", "")
    return Workload(namespace_of(labels), name) if name else None


def _deployed(labels: Named) -> tuple[Workload, bool] | None:
    workload = _deployment(labels)
    return (workload, True) if workload else None


def _scaled(labels: Named) -> tuple[Workload, Workload] | None:
    """What an autoscaler scales."""
    namespace, target = namespace_of(labels), labels.get("scaletargetref_name")
    scaler = Workload(namespace, labels.get("horizontalpodautoscaler", ""))
    return (scaler, Workload(namespace, target)) if target else None


def _quota(labels: Named, kind: str = "") -> Quota | None:
    if kind and labels.get("type") != kind:
        return None
    return Quota(namespace_of(labels), labels.get("resourcequota", ""))


def _pools(quotas: Sequence[Quota]) -> tuple[str, ...]:
    """The quotas' names, with the namespace where several have one of that name."""
    names = Counter(quota.name for quota in quotas)
    return tuple(f"{each.namespace}/{each.name}" if names[each.name] > 1 else each.name for each in quotas)
