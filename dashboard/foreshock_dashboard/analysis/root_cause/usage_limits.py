"""Resources over their limits: CPU, memory, volumes, file descriptors, and throttled CPU periods.

A container at its limit is slowed or killed by it, which its usage does not say. Usage far below one says little.
Names: cAdvisor and kubelet, kube-state-metrics (`kube_pod_container_resource_limits`), and the clients of Prometheus
(process metrics).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from foreshock_dashboard.analysis.root_cause.counters import increases, window_sums
from foreshock_dashboard.analysis.root_cause.parameters import LIMIT_RATIO, SUSTAINED, THROTTLED_RATIO
from foreshock_dashboard.analysis.root_cause.series_owner import owner
from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats

MAX_LIMIT = 2.0**60
"""Limit from which there is none: cAdvisor reports 0, or the largest number of the kernel."""
CPU_SECONDS = "container_cpu_usage_seconds_total"
THROTTLED, PERIODS = "container_cpu_cfs_throttled_periods_total", "container_cpu_cfs_periods_total"
QUOTA, QUOTA_PERIOD = "container_spec_cpu_quota", "container_spec_cpu_period"
MEMORY = ("container_memory_usage_bytes", "container_memory_rss", "container_memory_working_set_bytes")
"""Memory of a container; the last one that is reported is compared with the limit."""
MEMORY_LIMIT = "container_spec_memory_limit_bytes"
VOLUME, VOLUME_SIZE = "kubelet_volume_stats_used_bytes", "kubelet_volume_stats_capacity_bytes"
FILES, MAX_FILES = "process_open_fds", "process_max_fds"
KUBERNETES_LIMITS = "kube_pod_container_resource_limits"
COUNTERS = frozenset((CPU_SECONDS, THROTTLED, PERIODS))
SHARED = frozenset((CPU_SECONDS, *MEMORY, VOLUME, THROTTLED, PERIODS))
"""Metrics that are compared as shares where what they are shares of is known."""
METRICS = COUNTERS | SHARED.union((QUOTA, QUOTA_PERIOD, MEMORY_LIMIT, VOLUME_SIZE, FILES, MAX_FILES, KUBERNETES_LIMITS))
SHARES = ("cpu_ratio", "cpu_throttled_ratio", "memory_ratio", "disk_ratio", "files_ratio")
"""Names of shares, as the hub calls the signals."""
PART_LABELS = ("namespace", "pod", "container", "persistentvolumeclaim")
HOST_PART_LABELS = ("job", "instance", "id", "name", "container_label_com_docker_compose_service")
"""Labels of a process, and of a container without a pod: cAdvisor names it by its control group and its name."""
Part = tuple[str, ...]
"""Values of `PART_LABELS`, or of `HOST_PART_LABELS` without these."""
Parts = Mapping[Part, Floats]
"""Values of parts, shape (times,)."""


class UsageLimits:
    """Usage and limits of all parts. metrics: those of `METRICS`; step: seconds between grid points."""

    def __init__(self, metrics: Mapping[str, Matrix], step: float) -> None:
        self._metrics, self._step = metrics, step
        self._owners: dict[Part, Service] = {}
        memory = {**self._of(MEMORY_LIMIT), **self._of(KUBERNETES_LIMITS, "memory")}
        sizes = self._of(VOLUME_SIZE)
        used = {part: values for metric in MEMORY for part, values in self._of(metric).items()}
        cpu = {**_ratio(self._of(QUOTA), self._of(QUOTA_PERIOD)), **self._of(KUBERNETES_LIMITS, "cpu")}
        self._shares: Mapping[str, Parts] = {
            "cpu_ratio": _ratio(self._of(CPU_SECONDS), cpu),
            "cpu_throttled_ratio": _ratio(self._of(THROTTLED), self._of(PERIODS)),
            "memory_ratio": _ratio(used, memory),
            "disk_ratio": _ratio(self._of(VOLUME), sizes),
            "files_ratio": _ratio(self._of(FILES), self._of(MAX_FILES)),
        }

    def shares(self, first: int) -> Mapping[tuple[Service, str], Floats]:
        """Shares of limits by service and name of the share, shape (times,); the largest of a service counts.

        Those of files only where the limit is reached from grid point `first` on: their number counts anyway.
        """
        largest: dict[tuple[Service, str], Floats] = {}
        for name, by_part in self._shares.items():
            for part, values in by_part.items():
                key = self._owners[part], name
                largest[key] = np.fmax(largest[key], values) if key in largest else values
        return {
            (service, name): values
            for (service, name), values in largest.items()
            if name != "files_ratio" or is_at_limit(name, np.nanmax(values[first:], initial=0.0))
        }

    def not_shared(self) -> Iterator[tuple[str, Matrix]]:
        """Metrics of `SHARED`, without the series of which the shares are known."""
        names = dict.fromkeys(MEMORY, "memory_ratio") | dict.fromkeys((THROTTLED, PERIODS), "cpu_throttled_ratio")
        names |= {CPU_SECONDS: "cpu_ratio", VOLUME: "disk_ratio"}
        for metric in sorted(SHARED & self._metrics.keys()):
            matrix, shares = self._metrics[metric], self._shares[names[metric]]
            kept = [i for i, labels in enumerate(matrix.labels) if part_of(dict(labels)) not in shares]
            yield metric, Matrix(matrix.times, tuple(matrix.labels[i] for i in kept), matrix.values[kept])

    def _of(self, metric: str, resource: str = "") -> Parts:
        """Values of each part; of counters their rate. resource: value of that label, if it has to have one.

        A counter may have a series per CPU: their sum. A restarted container has another series: the larger one counts.
        """
        matrix = self._metrics.get(metric)
        if matrix is None:
            return {}
        span, found = max(1, round(SUSTAINED.at(self._step) / self._step)), dict[Part, Floats]()
        rates = (
            window_sums(increases(matrix.values), span) / (span * self._step) if metric in COUNTERS else matrix.values
        )
        summed: dict[Labels, Floats] = {}
        for pairs, values in zip(matrix.labels, rates, strict=True):
            series = tuple(pair for pair in pairs if pair[0] != "cpu")
            before = summed.get(series)
            if before is not None:
                values = np.where(np.isnan(before), values, before + np.nan_to_num(values))
            summed[series] = values
        for labels, values in zip(map(dict, summed), summed.values(), strict=True):
            if labels.get("resource", "") == resource:
                part = part_of(labels)
                self._owners[part] = owner(metric, labels)
                found[part] = np.fmax(found[part], values) if part in found else values
        return found


def part_of(labels: Mapping[str, str]) -> Part:
    """The container, the volume, or the process that a series is about."""
    named = tuple(labels.get(f"exported_{label}") or labels.get(label, "") for label in PART_LABELS)
    return named if any(named[1:]) else tuple(labels.get(label, "") for label in HOST_PART_LABELS)


def is_at_limit(name: str, share: float) -> bool:
    """Whether a share of that name says that the limit is reached."""
    return name in SHARES and share >= (THROTTLED_RATIO if name == "cpu_throttled_ratio" else LIMIT_RATIO)


def _ratio(used: Parts, limit: Parts) -> Parts:
    """Usage over the limit, of parts with one."""
    found = {}
    for part in used.keys() & limit.keys():
        bound = np.where((limit[part] > 0) & (limit[part] < MAX_LIMIT), limit[part], np.nan)
        if np.isfinite(bound).any():
            with np.errstate(invalid="ignore"):
                found[part] = used[part] / bound
    return found
