"""Synthetic answers of a large platform to the query catalog, for each evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.ingest.span_metrics.histogram import LE_VALUES
from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.types import Bools, Floats
from foreshock_dashboard.stats.histogram_quantile import histogram_quantiles
from foreshock_dashboard.world.builder import catalog
from foreshock_dashboard.world.histogram_quantiles import BUCKETED, QUANTILES
from foreshock_dashboard.world.row import Readings

START, STEP = 1_800_000_000.0, 10.0
GPUS_PER_HOST = 8
OPERATIONS = 3
"""Per service."""
NOISE_RATIO = 0.05
"""Scatter of every value."""
BASELINES = {
    **dict.fromkeys(("up", "clock_max"), 1.0),
    **dict.fromkeys(("mock", "gpu_lost", "gpu_errors", "throttled", "preempted", "pending", "dropped"), 0.0),
    **dict.fromkeys(("queued_count", "answered_count", "finished"), 2.0),
    **dict.fromkeys(("running", "per_token_sum", "answered_sum"), 8.0),
    **dict.fromkeys(("generated_tokens", "per_token_count"), 400.0),
    **dict.fromkeys(("specified", "ready", "calls"), 5.0),
    **dict.fromkeys(("calls_failed", "retries", "queued_sum"), 0.01),
    **dict.fromkeys(("served_failed", "gpu_wait_by", "timeouts", "retransmitted"), 0.05),
    **dict.fromkeys(("received", "sent"), 1e8),
    **dict.fromkeys(("prompt_tokens", "temperature"), 60.0),
    **dict.fromkeys(("segments", "served"), 50.0),
    **dict.fromkeys(("speed",), 2.5e10),
}
"""Values of a healthy platform; 0.4 for other readings."""
MEDIAN_SECONDS = 0.1
"""Median latency; latencies are log-logistic around it."""
REQUESTS = 1000.0
"""Of each histogram at each grid point."""
SERVICES_PER_SLOW_ONE, SLOWDOWN_RATIO = 50, 2.0
"""One in this many services is slower in `answers`."""
EXACT = frozenset({"up", "mock", "gpu_lost", "gpu_errors", "throttled", "specified", "ready", "pending", "quota"})


@dataclass(frozen=True)
class Size:
    """Size of a platform."""

    gpus: int = 10_000
    services: int = 1_000
    edges: int = 8_000

    @property
    def hosts(self) -> int:
        """Hosts of eight GPUs."""
        return self.gpus // GPUS_PER_HOST


class Platform:
    """Answers by evaluation. Each time another host is missing, so that the series always differ."""

    def __init__(self, size: Size, seed: int = 1) -> None:
        self.size = size
        self._rng = np.random.default_rng(seed)
        pairs: dict[tuple[str, str], tuple[str, str]] = {}  # shared, as in a store
        self._series: dict[str, list[Labels]] = {key: [] for key in catalog(59.0)}
        for key, labels in _series(size):
            own = sorted((name, value) for name, value in labels.items() if value)
            self._series[key].append(tuple(pairs.setdefault(pair, pair) for pair in own))
        for series in self._series.values():
            series.sort()
        self._bounds = {key: np.array([float(dict(labels)["le"]) for labels in self._series[key]]) for key in BUCKETED}
        self._histograms = {key: _histograms(self._series[key]) for key in BUCKETED}
        self._host = {key: np.array([*map(_host_of, series)], np.int64) for key, series in self._series.items()}
        self._baseline = {key: np.full(len(series), BASELINES.get(key, 0.4)) for key, series in self._series.items()}

    def answers(self, tick: int) -> Readings:
        """Answers of a source at one grid point; labels are the same objects each time, as `PrometheusSource` keeps."""
        missing = tick % self.size.hosts
        answers = {}
        for key, series in self._series.items():
            present = self._host[key] != missing
            labels = tuple(compress(series, present.tolist()))
            values = self._counts(key) if key in BUCKETED else self._values(key, 1)
            answers[key] = Matrix(self._times(tick, 1), labels, values[present])
        return answers

    def past(self, tick: int, points: int) -> Readings:
        """Several grid points at once, with quantiles in place of histograms."""
        readings = {}
        for key, series in self._series.items():
            times = self._times(tick, points)
            if key not in BUCKETED:
                readings[key] = Matrix(times, tuple(series), self._values(key, points))
                continue
            histograms = tuple(dict.fromkeys(map(_without_le, series)))
            scatter = self._rng.lognormal(0, NOISE_RATIO, (len(histograms), points))
            for seconds, name in zip(BASELINE_SECONDS, QUANTILES, strict=True):
                readings[f"{key.removesuffix('_seconds')}_{name}"] = Matrix(times, histograms, seconds * scatter)
        return readings

    def _times(self, tick: int, points: int) -> Floats:
        return START + STEP * np.arange(tick, tick + points, dtype=np.float64)

    def _counts(self, key: str) -> Floats:
        """Cumulative buckets; those of one histogram scatter together."""
        is_slow, number = self._histograms[key]
        seconds = (
            MEDIAN_SECONDS * self._rng.lognormal(0, NOISE_RATIO, len(is_slow)) * np.where(is_slow, SLOWDOWN_RATIO, 1.0)
        )
        requests = REQUESTS * self._rng.lognormal(0, NOISE_RATIO, len(is_slow))
        return (requests[number] * _within(self._bounds[key], seconds[number]))[:, None]

    def _values(self, key: str, points: int) -> Floats:
        baseline = self._baseline[key][:, None]
        if key in EXACT:
            return np.repeat(baseline, points, axis=1)
        return baseline * self._rng.lognormal(0, NOISE_RATIO, (len(baseline), points))


def _within(bounds: Floats, median: Floats | float) -> Floats:
    """Share of requests within each bound, in seconds."""
    return 1.0 / (1.0 + (median / bounds) ** 3)


BASELINE_SECONDS = [
    float(seconds[0, 0])
    for bounds in [np.array([*map(float, LE_VALUES)])]
    for seconds in histogram_quantiles(
        bounds, REQUESTS * _within(bounds, MEDIAN_SECONDS)[None, :, None], tuple(QUANTILES.values())
    )
]
"""`QUANTILES` of the buckets of a healthy platform."""


def _without_le(labels: Labels) -> Labels:
    """Labels of the histogram of a bucket."""
    return tuple(pair for pair in labels if pair[0] != "le")


def _histograms(series: list[Labels]) -> tuple[Bools, NDArray[np.int64]]:
    """Whether each histogram is of a slow service, and the number of the histogram of each bucket."""
    numbers = {histogram: number for number, histogram in enumerate(dict.fromkeys(map(_without_le, series)))}
    names = [dict(histogram).get("server") or dict(histogram)["service_name"] for histogram in numbers]
    is_slow = np.array([int(name.removeprefix("s-")) % SERVICES_PER_SLOW_ONE == 0 for name in names], np.bool_)
    return is_slow, np.array([numbers[_without_le(labels)] for labels in series], np.int64)


def _series(size: Size) -> Iterator[tuple[str, dict[str, str]]]:
    """Every series of the platform, as (reading, labels)."""
    services = [{"service_name": f"s-{i}", "service_namespace": f"n-{i % 20}"} for i in range(size.services)]
    yield from _on_hosts(size)
    for gpu in range(size.gpus):
        yield from _on_gpu(gpu, services)
    for i, service in enumerate(services):
        for key in ("served", "served_failed"):
            yield key, service
        yield from (("served_seconds", {**service, "le": bound}) for bound in LE_VALUES)
        for name in range(OPERATIONS):
            operation = {**service, "span_name": f"POST /v1/{name}"}
            yield from ((key, operation) for key in ("operations", "operations_failed"))
            yield from (("operation_seconds", {**operation, "le": bound}) for bound in LE_VALUES)
        yield from _deployed(i)
    for i in range(size.services // 5):
        yield from (("first_token_seconds", {**services[i], "model_name": "m", "le": bound}) for bound in LE_VALUES)
        for replica in range(10):
            host = f"r-{i}-{replica}.h-{(i * 10 + replica) % size.hosts}:8000"
            server = {"job": "servers", "instance": host, **services[i], "model_name": "m"}
            yield "up", {"job": "servers", "instance": host}
            for key in _SERVED:
                yield key, server
    for i in range(size.edges):
        client, server = services[i % size.services], services[(i * 7 + i // size.services + 1) % size.services]
        edge = {"client": client["service_name"], "client_service_namespace": client["service_namespace"]}
        edge |= {"server": server["service_name"], "server_service_namespace": server["service_namespace"]}
        for key in ("calls", "calls_failed", "retries"):
            yield key, edge
        for key in ("client_seconds", "server_seconds"):
            yield from ((key, {**edge, "le": bound}) for bound in LE_VALUES)


_SERVED = (
    *("running", "waiting", "cache", "preempted", "finished", "prompt_tokens", "generated_tokens"),
    *(f"{key}_{part}" for key in ("queued", "per_token", "answered") for part in ("sum", "count")),
)


def _on_hosts(size: Size) -> Iterator[tuple[str, dict[str, str]]]:
    for host in range(size.hosts):
        target = {"job": "foreshock-exporter", "instance": f"h-{host}:10877"}
        yield "host", {**target, "host_name": f"h-{host}"}
        for key in ("up", "mock", "segments", "retransmitted", "timeouts", "dropped"):
            yield key, target
        for device in ({"device": "eth0"}, {"device": "mlx5_0", "port": "1"}):
            for key in ("received", "sent", "speed"):
                yield key, {**target, **device}


def _on_gpu(gpu: int, services: list[dict[str, str]]) -> Iterator[tuple[str, dict[str, str]]]:
    """A GPU; every other one is shared by two services."""
    host, index = divmod(gpu, GPUS_PER_HOST)
    labels = {"job": "foreshock-exporter", "instance": f"h-{host}:10877", "uuid": f"GPU-{gpu:06}"}
    yield "gpu", {**labels, "gpu": str(index), "model": "H100"}
    for key in (
        *("utilization", "contended", "memory_used", "memory_total", "memory_free", "power", "temperature"),
        *("clock", "clock_max", "throttled", "gpu_errors", "gpu_lost"),
    ):
        yield key, labels
    first, second = services[gpu % len(services)], services[(gpu + 1) % len(services)]
    tenants = (first, second) if gpu % 2 else (first,)
    for tenant in tenants:
        for key in ("busy", "gpu_wait", "memory"):
            yield key, {**labels, **tenant}
    if gpu % 2:
        for victim, aggressor in ((first, second), (second, first)):
            yield (
                "gpu_wait_by",
                {
                    **labels,
                    **victim,
                    **{name.replace("service_", "aggressor_"): value for name, value in aggressor.items()},
                },
            )


def _deployed(service: int) -> Iterator[tuple[str, dict[str, str]]]:
    labels = {"namespace": f"n-{service % 20}", "deployment": f"s-{service}"}
    for key in ("specified", "ready"):
        yield key, labels
    for pod in range(5):
        yield "pending", {"namespace": labels["namespace"], "pod": f"s-{service}-7d9c5b8f6d-x2x4{pod}"}


def _host_of(labels: Labels) -> int:
    """Number of the host of a series; -1 without one."""
    instance = dict(labels).get("instance", "")
    return int(instance.rpartition("-")[2].split(":")[0]) if instance else -1


def series_count(answers: Mapping[str, Matrix]) -> int:
    """Number of series."""
    return sum(map(len, answers.values()))
