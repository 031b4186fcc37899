"""Workloads, pods, and GPU quotas of a cluster: queries of kube-state-metrics, and rows of the World."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence, Set
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.query import Matcher, Matrix
from foreshock_dashboard.model.service import Service, qualified, split_cluster
from foreshock_dashboard.model.world_sections import Capacity
from foreshock_dashboard.world.row import Catalog, LabelMap, Producer, RateWindows, Readings, row
from foreshock_dashboard.world.row_math import LabelFacts, ServiceNames
from foreshock_dashboard.world.section import Growth, Section, Sections
from foreshock_dashboard.world.targets import ServicePlaces

Workload = Service
"""A Deployment or StatefulSet: namespace and name."""

NAMESPACE_LABELS = ("namespace", "exported_namespace")
"""`exported_namespace` if the scrape target has a label `namespace` (scrapes without honor_labels)."""
_STATEFUL_SET_RENAMES = {"statefulset": "deployment"}
_PENDING = Matcher("phase", "=", "Pending")
GPU_REQUESTS = Matcher("resource", "=", "requests.nvidia.com/gpu")
_SAFE = "[bcdfghjklmnpqrstvwxz2456789]"
"""Alphabet of Kubernetes' hashes (k8s.io/apimachinery/pkg/util/rand)."""
_SUFFIX = re.compile(rf"-(\d+|{_SAFE}{{5}}|{_SAFE}{{6,10}}-{_SAFE}{{5}})$")
"""Suffix of a pod name: an ordinal, or the hashes of ReplicaSet and pod."""
POD_OF_DEPLOYMENT = re.compile(rf"(.+)-{_SAFE}{{6,10}}-{_SAFE}{{5}}")
"""Name of a pod of the Deployment that it begins with."""
WORKLOAD_READINGS = ("specified", "ready", "scaler_wanted", "scaler_most")
WORKLOAD_FIGURES = ("wanted", "ready", "max_replicas", "pending")


def readings(windows: RateWindows) -> Catalog:
    """Readings by deployment (or stateful set), autoscaler, pod, and quota.

    Names: kube-state-metrics/docs/metrics (workload, cluster).
    """
    last = windows.last
    scaler, deployment = (*NAMESPACE_LABELS, "horizontalpodautoscaler"), (*NAMESPACE_LABELS, "deployment")
    specified, ready = (
        Producer(last(metric, (*NAMESPACE_LABELS, "statefulset")), _STATEFUL_SET_RENAMES)
        for metric in ("kube_statefulset_replicas", "kube_statefulset_status_replicas_ready")
    )
    pod, quota = (*NAMESPACE_LABELS, "pod", "exported_pod"), (*NAMESPACE_LABELS, "resourcequota", "type")
    return {
        "scaler_target": row(
            "autoscaler targets with another name",
            last("kube_horizontalpodautoscaler_info", (*scaler, "scaletargetref_name")),
        ),
        "scaler_wanted": row("desired replicas", last("kube_horizontalpodautoscaler_status_desired_replicas", scaler)),
        "scaler_most": row("autoscaler limits", last("kube_horizontalpodautoscaler_spec_max_replicas", scaler)),
        "specified": row(
            "desired replicas without an autoscaler",
            last("kube_deployment_spec_replicas", deployment),
            also=(specified,),
        ),
        "ready": row("ready replicas", last("kube_deployment_status_replicas_ready", deployment), also=(ready,)),
        "pending": row("pending pods", last("kube_pod_status_phase", pod, _PENDING)),
        "quota": row("GPU quotas", last("kube_resourcequota", quota, GPU_REQUESTS)),
    }


class Quota(NamedTuple):
    """A ResourceQuota."""

    namespace: str
    name: str


class ClusterRows:
    """Rows of workloads and quotas."""

    def __init__(self, sections: Sections) -> None:
        self.workloads = Section(sections, tuple, self.workload)
        self.quotas = Section(sections, tuple, _quota)
        self._targets: LabelFacts[Workload, Workload] = LabelFacts(_scaled)
        self._deployments: LabelFacts[Workload, bool] = LabelFacts(_deployed)
        self._services: tuple[Sequence[Workload], Set[Service], tuple[Service, ...]] = ((), frozenset(), ())

    def update(self, readings: Readings, since: float) -> bool:
        """Register the entities of new readings; return whether new workloads appeared."""
        new = self._deployments.update(readings["specified"], readings["ready"])
        if self._targets.update(readings["scaler_target"]) or new:
            self.workloads.forget()
        self.workloads.register(readings, WORKLOAD_READINGS, since)
        self.quotas.register(readings, ["quota"], since)
        return new

    def columns(self, readings: Readings) -> Growth:
        """New columns of every figure."""
        specified, ready, wanted, max_replicas, pending = (
            self.workloads.rows(key, readings[key]) for key in (*WORKLOAD_READINGS, "pending")
        )
        replicas = (np.where(np.isnan(wanted), specified, wanted), ready, max_replicas, pending)
        gpus = {
            figure: self.quotas.rows(figure, _of_type(readings["quota"], type_))
            for figure, type_ in (("quota", "hard"), ("used", "used"))
        }
        return [(self.workloads, dict(zip(WORKLOAD_FIGURES, replicas, strict=True))), (self.quotas, gpus)]

    def capacity(self, known: Set[Service]) -> Capacity | None:
        """Capacity by service and pool; None without any. `known`: services from other readings."""
        workloads, quotas = self.workloads.keys, self.quotas.keys
        if not workloads and not quotas:
            return None
        if self._services[0] is not workloads or self._services[1] is not known:
            self._services = (workloads, known, services_of(workloads, known))
        return Capacity(
            services=self._services[2],
            **{key: self.workloads[key] for key in WORKLOAD_FIGURES},
            pools=_pools(quotas),
            quota=self.quotas["quota"],
            used=self.quotas["used"],
        )

    def workload_of(self, labels: LabelMap) -> str:
        """Workload name of a pod; see `workload_of`."""
        return workload_of(labels, self._deployments.facts.keys())

    def workload(self, labels: LabelMap) -> Workload | None:
        """Workload of a deployment, of an autoscaler, or of a pod."""
        if "horizontalpodautoscaler" in labels:
            scaler = Workload(namespace_of(labels), labels["horizontalpodautoscaler"])
            return self._targets.facts.get(scaler, scaler)
        if "deployment" in labels:
            return _deployment(labels)
        workload = Workload(namespace_of(labels), self.workload_of(labels))
        return workload if workload in self._deployments.facts else None


class PodServices:
    """Joins workloads to services. A name alone joins no other namespace.

    Names count within one cluster. `service.namespace` need not be a namespace of it. So a service is joined to the
    workload of its name in another namespace if its own is none of the cluster, and no other namespace has a workload
    of this name.

    Args:
        places: which service answers where.
        workload_of: maps the labels of a pod to the name of its workload.
    """

    def __init__(self, places: ServicePlaces, workload_of: Callable[[LabelMap], str]) -> None:
        self._places, self._workload_of = places, workload_of
        self._services: Set[Service] = frozenset()
        self._names = ServiceNames()
        self._service_namespaces: Set[str] = frozenset()
        self._namespaces: set[str] = set()  # of the cluster, as far as services have them, too
        self._homes: dict[tuple[str, str], set[str]] = {}  # namespaces with workloads of a service's (cluster, name)
        self.version = 0
        """Changes when pods may belong to other services than before."""

    def update(self, services: Set[Service], moved: bool) -> None:
        """Know these services. moved: places or names of workloads changed."""
        if moved or services is not self._services:
            self._services, self._names = services, ServiceNames(services)
            self._service_namespaces = {service.namespace for service in services}
            self._namespaces, self._homes = set(), {}
            self.version += 1

    def of_pod(self, namespace: str, pod: str) -> Service | None:
        """The service of a pod."""
        labels = {"namespace": namespace, "pod": pod}
        by_name = self.named(namespace, self._workload_of(labels))
        return self._places.service_at(labels) or by_name

    def named(self, namespace: str, name: str) -> Service | None:
        """The service of a workload; the namespace is "" where unknown."""
        found, homes = self._names.find(namespace, name), self._learn(namespace, name)
        if not found or not homes or found.namespace == namespace:
            return found
        return found if len(homes) == 1 and found.namespace not in self._namespaces else None

    def _learn(self, namespace: str, name: str) -> Set[str]:
        """The known namespaces with workloads of this name in the cluster; empty without a namespace or a service."""
        cluster, local = split_cluster(namespace)
        if local and namespace in self._service_namespaces and namespace not in self._namespaces:
            self._namespaces.add(namespace)
            self.version += 1
        if not local or not self._names.named(namespace, name):
            return frozenset()
        homes = self._homes.setdefault((cluster, name), set())
        if namespace not in homes:
            homes.add(namespace)
            self.version += 1
        return homes


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

    The known service with the same namespace and name, else the only service of that name in its cluster if no other
    workload there shares the name, and no workload is in the namespace of the service; else the workload itself.
    """
    by_name = ServiceNames(known)
    names = Counter((workload.cluster, workload.name) for workload in workloads)
    namespaces = {workload.namespace for workload in workloads if workload.local.namespace}

    def of(workload: Workload) -> Service:
        candidates = by_name.named(*workload)
        if workload in known or len(candidates) != 1 or names[workload.cluster, workload.name] > 1:
            return workload
        return workload if candidates[0].namespace in namespaces else candidates[0]

    return tuple(map(of, workloads))


def _deployment(labels: LabelMap) -> Workload | None:
    name = labels.get("deployment", "")
    return Workload(namespace_of(labels), name) if name else None


def _deployed(labels: LabelMap) -> tuple[Workload, bool] | None:
    workload = _deployment(labels)
    return (workload, True) if workload else None


def _scaled(labels: LabelMap) -> tuple[Workload, Workload] | None:
    namespace, target = namespace_of(labels), labels.get("scaletargetref_name")
    scaler = Workload(namespace, labels.get("horizontalpodautoscaler", ""))
    return (scaler, Workload(namespace, target)) if target else None


def _quota(labels: LabelMap) -> Quota:
    return Quota(namespace_of(labels), labels.get("resourcequota", ""))


def _of_type(quotas: Matrix, type_: str) -> Matrix:
    """The limits ("hard") or the usage ("used") of quotas."""
    series = [number for number, labels in enumerate(quotas.labels) if ("type", type_) in labels]
    return Matrix(quotas.times, tuple(quotas.labels[number] for number in series), quotas.values[series])


def _pools(quotas: Sequence[Quota]) -> tuple[str, ...]:
    """Names of the quotas, with the namespace where a name is not unique in its cluster."""
    names = Counter((split_cluster(quota.namespace)[0], quota.name) for quota in quotas)

    def name(quota: Quota) -> str:
        cluster, namespace = split_cluster(quota.namespace)
        return qualified(cluster, f"{namespace}/{quota.name}" if names[cluster, quota.name] > 1 else quota.name)

    return tuple(map(name, quotas))
