"""Queries of what changes, and the changes in their answers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Set
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.changes.fields import MAX_AHEAD_SECONDS
from foreshock_dashboard.changes.labels import CHANGE_METRIC, LABELS, change_of_labels
from foreshock_dashboard.changes.merging import MAX_CHANGES, merged_changes, service_aliases, service_of_change
from foreshock_dashboard.changes.timelines import ABSENT_SECONDS, Subject, Timelines
from foreshock_dashboard.common.series_index import SeriesIndex
from foreshock_dashboard.model.change import Change, ChangeKind
from foreshock_dashboard.model.query import Matcher, Matrix
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import image_tag
from foreshock_dashboard.world.cluster import NAMESPACE_LABELS, Workload, namespace_of, services_of
from foreshock_dashboard.world.row import (
    SERVICE_LABELS,
    TARGET_LABELS,
    Catalog,
    LabelMap,
    Producer,
    RateWindows,
    Readings,
    row,
)
from foreshock_dashboard.world.row_math import service_of, service_of_job

_SM_CLOCK = Matcher("clock", "=", "sm")
_HAS_VERSION = Matcher("service_version", "!=", "")
_TARGET_INFO_LABELS = ("job", "exported_job", *SERVICE_LABELS, "service_version")
_DEPLOYMENT, _SCALER = (*NAMESPACE_LABELS, "deployment"), (*NAMESPACE_LABELS, "horizontalpodautoscaler")
_REVISION = "annotation_deployment_kubernetes_io_revision"
"""Of kube-state-metrics with `--metric-annotations-allowlist=deployments=[deployment.kubernetes.io/revision]`."""
ROLLOUT_SECONDS = 120.0
"""Time within which a new image or replicas of a Deployment explain its new generation, and a revision is theirs."""

NOTHING = -1
"""Number of a series that is about nothing."""
Named = Callable[[LabelMap], tuple[Subject, str] | None]
"""The subject and the value of a series; the value is "" where it is the sample."""


class _Reading(NamedTuple):
    """How a reading shows values. exclusive: a subject has one at a time. sampled: the sample is the value."""

    named: Named
    exclusive: bool = False
    sampled: bool = False


def readings(windows: RateWindows) -> Catalog:
    """Readings of versions, images, workload settings, nodes, drivers, and settings of GPUs.

    Names: kube-state-metrics/docs/metrics (workload, cluster); `target_info` is the resource of OTLP metrics in
    Prometheus (OpenTelemetry, "Prometheus and OpenMetrics Compatibility"), `traces_target_info` that of Tempo.
    """
    last = windows.last
    lost = "changes"
    target_infos = (
        Producer(last(name, _TARGET_INFO_LABELS, _HAS_VERSION), relabel=_service_of_job)
        for name in ("target_info", "traces_target_info")
    )
    pod = (*NAMESPACE_LABELS, "pod", "exported_pod", "container", "image", "image_spec")
    dcgm_driver = Producer(
        last("DCGM_FI_DEV_GPU_UTIL", (*TARGET_LABELS, "DCGM_FI_DRIVER_VERSION")),
        {"DCGM_FI_DRIVER_VERSION": "driver_version"},
    )
    return {
        "version": row(
            lost,
            windows.rate("foreshock_service_version_spans_total", (*SERVICE_LABELS, "service_version")),
            also=tuple(target_infos),
        ),
        "image": row(lost, last("kube_pod_container_info", pod)),
        "generation": row(lost, last("kube_deployment_metadata_generation", _DEPLOYMENT)),
        "revision": row(lost, last("kube_deployment_annotations", (*_DEPLOYMENT, _REVISION))),
        "scaler_least": row(lost, last("kube_horizontalpodautoscaler_spec_min_replicas", _SCALER)),
        "scaler_goal": row(
            lost,
            last("kube_horizontalpodautoscaler_spec_target_metric", (*_SCALER, "metric_name", "metric_target_type")),
        ),
        "node": row(lost, last("kube_node_info", ("node",))),
        "driver": row(
            lost, last("gpu_info", (*TARGET_LABELS, "driver_version", "cuda_version", "sharing")), also=(dcgm_driver,)
        ),
        "mig": row(lost, last("gpu_mig_info", (*TARGET_LABELS, "uuid", "profile"))),
        "power_limit": row(lost, last("gpu_power_limit_watts", (*TARGET_LABELS, "uuid"))),
        "application_clock": row(
            lost,
            Producer(last("gpu_clock_application_hertz", (*TARGET_LABELS, "uuid"), _SM_CLOCK), scale=1e-6),
            also=(last("DCGM_FI_DEV_APP_SM_CLOCK", (*TARGET_LABELS, "UUID")),),
        ),
        "reported_change": row(lost, last(CHANGE_METRIC, (*TARGET_LABELS, *LABELS))),
    }


def _service_of_job(labels: LabelMap) -> LabelMap | None:
    """Service labels of a `target_info`, whose job is `namespace/name` unless it names the service itself."""
    job = service_of_job(labels)
    service = service_of(labels) or job
    if not service:
        return None
    namespace = job.namespace if job and not service.local.namespace else service.namespace
    return {
        "service_name": service.name,
        "service_namespace": namespace,
        "service_version": labels["service_version"],
    }


class ChangeRows:
    """Collects the changes that readings show.

    Args:
        host_of: host of a scrape target's series.
        workload_of: workload name of a pod's series.
        scaled: the workload that an autoscaler's series is about.
    """

    def __init__(
        self,
        host_of: Callable[[LabelMap], str],
        workload_of: Callable[[LabelMap], str],
        scaled: Callable[[LabelMap], Workload | None],
    ) -> None:
        self._host_of, self._workload_of, self._scaled = host_of, workload_of, scaled
        self._timelines = Timelines()
        self._reported: set[Change] = set()
        self._named: list[tuple[Subject, str]] = []
        self._numbers: dict[tuple[Subject, str], int] = {}
        self._index: dict[str, SeriesIndex] = {}
        self._autoscaled: set[Workload] = set()
        self._readings = {
            "version": _Reading(_version),
            "image": _Reading(self._image),
            "generation": self._workload("configuration", "generation"),
            "revision": _Reading(self._revision, exclusive=True),
            "specified": self._workload("scaling", "replicas"),
            "scaler_most": self._workload("scaling", "max_replicas"),
            "scaler_least": self._workload("scaling", "min_replicas"),
            "scaler_goal": self._workload("scaling", "target"),
            "node": _Reading(_node),
            "driver": self._host_value("driver", "driver", "driver_version"),
            "cuda": self._host_value("driver", "cuda", "cuda_version"),
            "sharing": self._host_value("gpu_configuration", "sharing", "sharing"),
            "mig": self._host_value("gpu_configuration", "mig_layout", "profile"),
            "power_limit": self._host_value("gpu_configuration", "power_limit", ""),
            "application_clock": self._host_value("gpu_configuration", "application_clock", ""),
        }

    def update(self, readings: Readings, since: float) -> None:
        """Add the new grid points; changes before `since` (Unix seconds) are forgotten."""
        for reading, spec in self._readings.items():
            matrix = readings[{"cuda": "driver", "sharing": "driver"}.get(reading, reading)]
            if len(matrix):
                self._observe(reading, spec, matrix)
        reported = readings["reported_change"]
        for labels, values in zip(reported.labels, reported.values, strict=True):
            found = (change_of_labels(at, dict(labels)) for at in np.unique(values[np.isfinite(values)]).tolist())
            self._reported.update(filter(None, found))
        until = (float(reported.times[-1]) if len(reported.times) else since) + MAX_AHEAD_SECONDS
        recent = sorted((each for each in self._reported if since <= each.at <= until), key=lambda change: change.at)
        self._reported = set(recent[-MAX_CHANGES:])
        self._timelines.trim(since)

    def tracked_services(self, known: Set[Service]) -> frozenset[Service]:
        """The services of which a version, image, generation, or reported version is known. known: see `changes`."""
        kinds: tuple[ChangeKind, ...] = ("deployment", "configuration")
        found = self._timelines.services(kinds)
        workloads = tuple({service for source, service in found if source == "kubernetes"})
        spans = {service for source, service in found if source == "traces"}
        aliases = service_aliases(known)
        versions = (each for each in self._reported if each.after and each.kind in kinds)
        reported = {service for each in versions if (service := service_of_change(each, aliases))}
        return frozenset({*spans, *reported, *services_of(workloads, known)})

    def changes(
        self, since: float, now: float, known: Set[Service], others: Iterable[Change] = ()
    ) -> tuple[Change, ...]:
        """The changes by time.

        known: services that other readings name. others: changes besides those in the readings, such as `collected`,
        of which those from `since` to `now` (Unix seconds) count.
        """
        found = {change for change in (*others, *self._reported) if since <= change.at <= now}
        return merged_changes(found, service_aliases(known)) if found else ()

    def collected(self, now: float, known: Set[Service]) -> frozenset[Change]:
        """The changes that the readings show until `now` (Unix seconds), as each source shows them.

        known: services that other readings name; workloads take their names.
        """
        found = [*self._timelines.changes(now)]
        reported = frozenset(change for change in self._reported if change.at <= now)
        if not found:
            return reported
        workloads = tuple(
            {subject.service for subject, _ in found if subject.source == "kubernetes" and subject.service}
        )
        service_of_workload = dict(zip(workloads, services_of(workloads, known), strict=True))
        rollouts = [
            (change.service, change.at)
            for subject, change in found
            if change.kind == "deployment" or change.setting == "replicas"
        ]

        def is_explained(change: Change) -> bool:
            return change.setting == "generation" and any(
                service == change.service and abs(at - change.at) <= ROLLOUT_SECONDS for service, at in rollouts
            )

        revisions = [change for _, change in found if change.setting == _REVISION]
        shown = [
            _with_revision(change, revisions)
            for _, change in found
            if not (change.setting == "replicas" and change.service in self._autoscaled)
            and change.setting != _REVISION
            and not is_explained(change)
        ]
        return reported.union(
            replace(change, service=service_of_workload.get(change.service, change.service))
            if change.source == "kubernetes" and change.service
            else change
            for change in shown
        )

    def _observe(self, reading: str, spec: _Reading, matrix: Matrix) -> None:
        if reading not in self._index:
            self._index[reading] = SeriesIndex(lambda labels: (self._number(spec.named, dict(labels)),), 1)
        index = self._index[reading]
        index.update(matrix.labels)
        numbers, values, times = index.numbers[:, 0], matrix.values, matrix.times
        present = np.isfinite(values) & ((values > 0) | spec.exclusive)
        if not spec.sampled:  # many series, such as those of a workload's pods, show one value: any of them suffices
            order = np.argsort(numbers, kind="stable")
            numbers, begins = np.unique(numbers[order], return_index=True)
            present = np.logical_or.reduceat(present[order], begins, axis=0)
        rows, columns = np.nonzero(present & (numbers != NOTHING)[:, None])
        if not len(rows):
            return
        shown = values[rows, columns] if spec.sampled else np.zeros(len(rows))
        begins = (np.diff(rows) != 0) | (np.diff(times[columns]) > ABSENT_SECONDS) | (np.diff(shown) != 0)
        first = np.flatnonzero(np.concatenate([[True], begins]))
        last = np.append(first[1:], len(rows)) - 1
        runs = np.stack([numbers[rows[first]], times[columns[first]], times[columns[last]], shown[first]], axis=1)
        is_repeated = np.append(False, (np.diff(runs, axis=0) == 0).all(axis=1))  # as those of the GPUs of a host
        for number, start, end, sample in runs[~is_repeated].tolist():
            subject, value = self._named[int(number)]
            self._timelines.observe(subject, value or f"{sample:.12g}", start, end, exclusive=spec.exclusive)

    def _number(self, named: Named, labels: LabelMap) -> int:
        entry = named(labels)
        if entry is None:
            return NOTHING
        number = self._numbers.setdefault(entry, len(self._named))
        if number == len(self._named):
            self._named.append(entry)
        return number

    def _image(self, labels: LabelMap) -> tuple[Subject, str] | None:
        """The tag of a container's image, as its pod template names it where the kubelet resolved it."""
        tag, workload = image_tag(labels.get("image_spec") or labels.get("image", "")), self._workload_of(labels)
        if not tag or not workload:
            return None
        service = Service(namespace_of(labels), workload)
        return Subject("deployment", "kubernetes", service, part=labels.get("container", "")), tag

    def _revision(self, labels: LabelMap) -> tuple[Subject, str] | None:
        """The revision of a Deployment, of which each rollout has its own."""
        revision, workload = labels.get(_REVISION, ""), self._scaled(labels)
        if not revision or workload is None:
            return None
        return Subject("configuration", "kubernetes", workload, setting=_REVISION), revision

    def _workload(self, kind: ChangeKind, setting: str) -> _Reading:
        """Names the workload of a Deployment, StatefulSet, or autoscaler. The sample is the value."""

        def named(labels: LabelMap) -> tuple[Subject, str] | None:
            workload = self._scaled(labels)
            if workload is None:
                return None
            if "horizontalpodautoscaler" in labels:
                self._autoscaled.add(workload)
            goal = labels.get("metric_name", "")
            return Subject(kind, "kubernetes", workload, setting=f"{setting} {goal}".rstrip()), ""

        return _Reading(named, exclusive=True, sampled=True)

    def _host_value(self, kind: ChangeKind, setting: str, label: str) -> _Reading:
        """Names the host of a target, and the value of a label; without one, the sample is the value.

        "unknown" is no value: the exporter could not read it for a while.
        """

        def named(labels: LabelMap) -> tuple[Subject, str] | None:
            host = self._host_of(labels)
            if not host or (label and labels.get(label, "") in ("", "unknown")):
                return None
            return Subject(kind, "exporter", host=host, setting=setting), labels.get(label, "") if label else ""

        return _Reading(named, sampled=not label)


def _with_revision(change: Change, revisions: Iterable[Change]) -> Change:
    """A change of a Deployment with the revision before it, if one is known to have changed with it.

    Of two rollouts, the nearer one is that of the change; of two that are as near, neither.
    """
    if change.source != "kubernetes" or not (change.kind == "deployment" or change.setting == "generation"):
        return change
    apart = {each: abs(each.at - change.at) for each in revisions if each.service == change.service}
    least = min(apart.values(), default=math.inf)
    nearest = [each for each, seconds in apart.items() if seconds == least]
    is_known = least <= ROLLOUT_SECONDS and len(nearest) == 1
    return replace(change, revision=nearest[0].before) if is_known else change


def _version(labels: LabelMap) -> tuple[Subject, str] | None:
    service, version = service_of(labels), labels.get("service_version", "")
    return (Subject("deployment", "traces", service), version) if service and version else None


def _node(labels: LabelMap) -> tuple[Subject, str] | None:
    return (Subject("node", "kubernetes"), labels["node"]) if labels.get("node") else None
