"""A large platform's answers to the catalogue, made up: as a source gives them each tick, not through a store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.ingest.span_metrics.histogram import LE_VALUES
from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.histogram_quantile import histogram_quantiles
from foreshock_dashboard.world.catalogue import catalogue
from foreshock_dashboard.world.histogram_quantiles import BUCKETED, QUANTILES
from foreshock_dashboard.world.row import Readings

START, STEP = 1_800_000_000.0, 10.0
PER_HOST = 8
PER_SERVICE = 3
"""Operations: a model server answers few kinds of requests."""
NOISE = 0.05
"""Scatter of every figure around its usual, as a share of it."""
USUAL = {
    **dict.fromkeys(("up", "clock_max"), 1.0),
    **dict.fromkeys(("mock", "gpu_lost", "gpu_errors", "throttled", "preempted", "pending", "dropped"), 0.0),
    **dict.fromkeys(("queued_count", "answered_count", "finished"), 2.0),
    **dict.fromkeys(("running", "per_token_sum", "answered_sum"), 8.0),
    **dict.fromkeys(("generated_tokens", "per_token_count"), 400.0),
    **dict.fromkeys(("specified", "ready", "calls"), 5.0),
    **dict.fromkeys(("calls_failed", "retries", "queued_sum"), 0.01),
    **dict.fromkeys(("served_failed", "stalled_by", "timeouts", "retransmitted"), 0.05),
    **dict.fromkeys(("received", "sent"), 1e8),
    **dict.fromkeys(("prompt_tokens", "temperature"), 60.0),
    **dict.fromkeys(("segments", "served"), 50.0),
    **dict.fromkeys(("speed",), 2.5e10),
}
"""A calm platform; 0.4 of whatever is not named here."""
MEDIAN = 0.1
"""Seconds of half of the requests; how long others take is spread log-logistically around it."""
REQUESTS = 1000.0
"""Of each thing at each grid point."""
TROUBLED, SLOWED = 50, 2.0
"""Of so many services one takes so many times its usual once answers come one by one."""
EXACT = frozenset({"up", "mock", "gpu_lost", "gpu_errors", "throttled", "specified", "ready", "pending", "quota"})


@dataclass(frozen=True)
class Size:
    """How much there is of everything."""

    gpus: int = 10_000
    services: int = 1_000
    edges: int = 8_000

    @property
    def hosts(self) -> int:
        """Hosts of eight GPUs."""
        return self.gpus // PER_HOST


class Platform:
    """Answers tick by tick. Each time another host is not scraped, so that the series are never quite the same."""

    def __init__(self, size: Size, seed: int = 1) -> None:
        self.size = size
        self._chance = np.random.default_rng(seed)
        pairs: dict[tuple[str, str], tuple[str, str]] = {}  # as a store has them: each pair of name and value once
        self._series: dict[str, list[Labels]] = {key: [] for key in catalogue(59.0)}
        for key, labels in _series(size):
            series = sorted((name, value) for name, value in labels.items() if value)
            self._series[key].append(tuple(pairs.setdefault(pair, pair) for pair in series))
        for each in self._series.values():
            each.sort()
        self._bounds = {key: np.array([float(dict(each)["le"]) for each in self._series[key]]) for key in BUCKETED}
        self._thing = {key: _things(self._series[key]) for key in BUCKETED}
        self._host = {key: np.array([*map(_host_of, each)], np.int64) for key, each in self._series.items()}
        self._usual = {key: np.full(len(each), USUAL.get(key, 0.4)) for key, each in self._series.items()}

    def answers(self, tick: int) -> Readings:
        """What a source says at one grid point; its labels are new objects, as they are each time."""
        away = tick % self.size.hosts
        found = {}
        for key, series in self._series.items():
            there = self._host[key] != away
            labels = tuple((*labels,) for labels, is_there in zip(series, there.tolist(), strict=True) if is_there)
            values = self._counts(key) if key in BUCKETED else self._values(key, 1)
            found[key] = Matrix(self._times(tick, 1), labels, values[there])
        return found

    def past(self, tick: int, points: int) -> Readings:
        """Many grid points at once, condensed already: to have a history quickly."""
        found = {}
        for key, series in self._series.items():
            times = self._times(tick, points)
            if key not in BUCKETED:
                found[key] = Matrix(times, tuple(series), self._values(key, points))
                continue
            things = tuple(dict.fromkeys(map(_thing, series)))
            scatter = self._chance.lognormal(0, NOISE, (len(things), points))
            for usual, name in zip(USUAL_SECONDS, QUANTILES, strict=True):
                found[f"{key.removesuffix('_seconds')}_{name}"] = Matrix(times, things, usual * scatter)
        return found

    def _times(self, tick: int, points: int) -> Floats:
        return START + STEP * np.arange(tick, tick + points, dtype=np.float64)

    def _counts(self, key: str) -> Floats:
        """Buckets, counted up. All of one thing's come from the same requests, so they scatter together."""
        things, number = self._thing[key]
        seconds = MEDIAN * self._chance.lognormal(0, NOISE, len(things)) * np.where(things, SLOWED, 1.0)
        requests = REQUESTS * self._chance.lognormal(0, NOISE, len(things))
        return (requests[number] * _within(self._bounds[key], seconds[number]))[:, None]

    def _values(self, key: str, points: int) -> Floats:
        usual = self._usual[key][:, None]
        if key in EXACT:
            return np.repeat(usual, points, axis=1)
        return usual * self._chance.lognormal(0, NOISE, (len(usual), points))


def _within(bounds: Floats, median: Floats | float) -> Floats:
    """The share of requests that take no longer than each bound, in seconds."""
    return 1.0 / (1.0 + (median / bounds) ** 3)


USUAL_SECONDS = [
    float(seconds[0, 0])
    for bounds in [np.array([*map(float, LE_VALUES)])]
    for seconds in histogram_quantiles(
        bounds, REQUESTS * _within(bounds, MEDIAN)[None, :, None], tuple(QUANTILES.values())
    )
]
"""What the buckets of a calm platform tell as each of `QUANTILES`."""


def _thing(labels: Labels) -> Labels:
    """What a bucket is of."""
    return tuple(pair for pair in labels if pair[0] != "le")


def _things(series: list[Labels]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Whether each thing that buckets are of is in trouble, and the number of each bucket's."""
    numbers = {thing: number for number, thing in enumerate(dict.fromkeys(map(_thing, series)))}
    names = [dict(thing).get("server") or dict(thing)["service_name"] for thing in numbers]
    troubled = np.array([int(name.removeprefix("s-")) % TROUBLED == 0 for name in names], np.bool_)
    return troubled, np.array([numbers[_thing(labels)] for labels in series], np.int64)


def _series(size: Size) -> Iterator[tuple[str, dict[str, str]]]:
    """Every series of the platform, with the reading that it answers."""
    services = [{"service_name": f"s-{i}", "service_namespace": f"n-{i % 20}"} for i in range(size.services)]
    yield from _on_hosts(size)
    for gpu in range(size.gpus):
        yield from _on_gpu(gpu, services)
    for i, who in enumerate(services):
        for key in ("served", "served_failed"):
            yield key, who
        yield from (("served_seconds", {**who, "le": bound}) for bound in LE_VALUES)
        yield from (("operations", {**who, "span_name": f"POST /v1/{name}"}) for name in range(PER_SERVICE))
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
    host, index = divmod(gpu, PER_HOST)
    labels = {"job": "foreshock-exporter", "instance": f"h-{host}:10877", "uuid": f"GPU-{gpu:06}"}
    yield "gpu", {**labels, "gpu": str(index), "model": "H100"}
    for key in (
        *("utilization", "contended", "memory_used", "memory_total", "memory_free", "power", "temperature"),
        *("clock", "clock_max", "throttled", "gpu_errors", "gpu_lost"),
    ):
        yield key, labels
    one, other = services[gpu % len(services)], services[(gpu + 1) % len(services)]
    tenants = (one, other) if gpu % 2 else (one,)
    for who in tenants:
        for key in ("busy", "stalled", "memory"):
            yield key, {**labels, **who}
    if gpu % 2:
        for victim, aggressor in ((one, other), (other, one)):
            yield "stalled_by", {**labels, **victim, **{f"by_{name}": value for name, value in aggressor.items()}}


def _deployed(service: int) -> Iterator[tuple[str, dict[str, str]]]:
    labels = {"namespace": f"n-{service % 20}", "deployment": f"s-{service}"}
    for key in ("specified", "ready"):
        yield key, labels
    for pod in range(5):
        yield "pending", {"namespace": labels["namespace"], "pod": f"s-{service}-7d9c5b8f6d-x2x4{pod}"}


def _host_of(labels: Labels) -> int:
    """The number of the host that a series is scraped from; -1 where it is not from one."""
    instance = dict(labels).get("instance", "")
    return int(instance.rpartition("-")[2].split(":")[0]) if instance else -1


def counted(found: Mapping[str, Matrix]) -> int:
    """How many series there are."""
    return sum(map(len, found.values()))
