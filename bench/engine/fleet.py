"""A fleet as Prometheus holds it: the pages of mock exporters on every host, and the metrics of services."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain

import numpy as np

from foreshock_dashboard.ingest.span_metrics.histogram import BUCKET_BOUNDS, LE_VALUES
from foreshock_dashboard.model.samples import Labels, labels_of
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.sources.prometheus.text_format import parse
from foreshock_exporter.exporter import Exporter
from foreshock_exporter.script.mock import mock_network, open_script

GPUS_PER_HOST = 8
NAMESPACES = 20
SERVICES_PER_MODEL, REPLICAS = 5, 2
"""One service in so many runs a model server with so many replicas."""
CALLS_PER_SERVICE = 3
SAMPLES_BETWEEN_PAGES, SAMPLE_SECONDS = 200, 0.1
REQUESTS_PER_SECOND, MEDIAN_SECONDS = 20.0, 0.1
"""Of each service; latencies are log-logistic around the median."""
SCATTER = 0.02
"""Of gauges; counters grow evenly."""


@dataclass(frozen=True)
class Fleet:
    """Series of a fleet: metric, labels, and value `base + slope * seconds`; without a slope, it scatters."""

    metrics: tuple[str, ...]
    labels: tuple[Labels, ...]
    base: Floats
    slope: Floats

    def values(self, seconds: Floats, rng: np.random.Generator) -> Floats:
        """Values at seconds since the start, shape (series, times)."""
        scatter = np.where(self.slope == 0, SCATTER * self.base, 0.0)[:, None]
        integral = (self.base == np.rint(self.base))[:, None]
        noise = rng.standard_normal((len(self.base), len(seconds)), np.float32)
        grown = self.base[:, None] + self.slope[:, None] * seconds
        return grown + np.where(integral, 0.0, scatter * noise)


def fleet(hosts: int, services: int, wanted: Collection[str] | None = None, collectors: int = 1) -> Fleet:
    """A fleet of hosts with `GPUS_PER_HOST` GPUs, and of services on them.

    wanted: metrics, all by default. collectors: those that count the spans, each of some of every service.
    """
    counted = (_of_spans(services, f"collector-{number}:8889") for number in range(collectors))
    every = chain(_on_hosts(hosts, services), *counted, _of_services(services, hosts))
    rows = [row for row in every if wanted is None or row[0] in wanted]
    return Fleet(
        tuple(row[0] for row in rows),
        tuple(labels_of(row[1]) for row in rows),
        np.array([row[2] for row in rows]),
        np.array([row[3] for row in rows]),
    )


def clusters(count: int, hosts: int, services: int, wanted: Collection[str] | None = None) -> Fleet:
    """Equal clusters with so many hosts and services together; they have the same names, and the label `cluster`."""
    one = fleet(hosts // count, services // count, wanted)
    labels = [labels_of({**dict(own), "cluster": f"cluster-{number}"}) for number in range(count) for own in one.labels]
    return Fleet(one.metrics * count, tuple(labels), np.tile(one.base, count), np.tile(one.slope, count))


Row = tuple[str, dict[str, str], float, float]


def _service(number: int) -> dict[str, str]:
    return {"service_name": f"s-{number}", "service_namespace": f"n-{number % NAMESPACES}"}


def _page() -> list[Row]:
    """Series of the page of a mock exporter whose GPUs are contended, with their growth per second."""
    clock = [1_800_000_000.0]
    script = open_script("contended", lambda: clock[0])
    host = {"network": mock_network(lambda: clock[0])}
    mock = Exporter(
        script.driver, script.resolver, host_id="h", host_name="h", now=lambda: clock[0], mock=True, host=host
    )
    with closing(mock):
        pages = []
        for _ in range(2):
            for _ in range(SAMPLES_BETWEEN_PAGES):
                clock[0] += SAMPLE_SECONDS
                mock.sample()
            page = parse(mock.render().decode(), {})
            pages.append({(each.metric, each.labels): each.value for each in page})
    seconds = SAMPLES_BETWEEN_PAGES * SAMPLE_SECONDS
    return [
        (metric, dict(labels), value, max(0.0, value - pages[0].get((metric, labels), value)) / seconds)
        if metric.endswith(("_total", "_bucket", "_count", "_sum"))
        else (metric, dict(labels), value, 0.0)
        for (metric, labels), value in pages[1].items()
    ]


def _on_hosts(hosts: int, services: int) -> Iterator[Row]:
    """The page of each host; those of GPUs as often as there are `GPUS_PER_HOST`, with services in turn."""
    page = _page()
    on_gpus = sorted({labels["gpu"] for _, labels, _, _ in page if "gpu" in labels})
    names = sorted({labels["service_name"] for _, labels, _, _ in page if "service_name" in labels})
    for host in range(hosts):
        target = {"job": "foreshock-exporter", "instance": f"h-{host}:10877"}
        yield "up", target, 1.0, 0.0
        for metric, labels, value, slope in page:
            own = labels | target
            if "host_name" in own:
                own["host_name"] = f"h-{host}"
            if "gpu" not in own:
                yield metric, own, value, slope
                continue
            for block in range(GPUS_PER_HOST // len(on_gpus)):
                gpu = block * len(on_gpus) + on_gpus.index(own["gpu"])
                named = own | {"gpu": str(gpu), "uuid": f"GPU-{host:05}-{gpu}"}
                first = (host * GPUS_PER_HOST // len(on_gpus) + block) * len(names)
                for prefix in ("service", "aggressor"):
                    if own.get(f"{prefix}_name"):
                        service = _service((first + names.index(own[f"{prefix}_name"])) % services)
                        named |= {key.replace("service", prefix): value for key, value in service.items()}
                yield metric, named, value, slope


def _of_spans(services: int, instance: str) -> Iterator[Row]:
    hub = {"job": "foreshock", "instance": instance}
    spans, graph = "traces_span_metrics", "traces_service_graph_request"
    for number in range(services):
        named = _service(number) | {"span_kind": "SPAN_KIND_SERVER", "span_name": "POST /v1"} | hub
        yield from _requests(f"{spans}_calls_total", named | {"status_code": "STATUS_CODE_UNSET"}, 1.0)
        yield from _requests(f"{spans}_calls_total", named | {"status_code": "STATUS_CODE_ERROR"}, 0.001)
        yield from _histogram(f"{spans}_duration_seconds", named | {"status_code": "STATUS_CODE_UNSET"})
        for call in range(CALLS_PER_SERVICE):
            edge = hub.copy()
            for side, name in (("client", number), ("server", (number * 7 + call + 1) % services)):
                edge[side], edge[f"{side}_service_namespace"] = _service(name).values()
            yield from _requests(f"{graph}_total", edge, 1 / CALLS_PER_SERVICE)
            yield from _requests(f"{graph}_failed_total", edge, 0.001)
            for side in ("client", "server"):
                yield from _histogram(f"{graph}_{side}_seconds", edge)


def _of_services(services: int, hosts: int) -> Iterator[Row]:
    for number in range(services):
        kube = {"job": "kube-state-metrics", "instance": "kube-state-metrics:8080"}
        kube |= {"namespace": f"n-{number % NAMESPACES}", "deployment": f"s-{number}"}
        for kind in ("spec_replicas", "status_replicas_ready"):
            yield f"kube_deployment_{kind}", kube, float(REPLICAS), 0.0
        if number % SERVICES_PER_MODEL == 0:
            for replica in range(REPLICAS):
                yield from _model_server(number, replica, hosts)


def _requests(metric: str, labels: dict[str, str], share: float) -> Iterator[Row]:
    yield metric, labels, 0.0, REQUESTS_PER_SECOND * share


def _histogram(metric: str, labels: dict[str, str]) -> Iterator[Row]:
    for bound, le in zip((*BUCKET_BOUNDS, np.inf), LE_VALUES, strict=True):
        within = 1.0 / (1.0 + (MEDIAN_SECONDS / bound) ** 3)
        yield f"{metric}_bucket", labels | {"le": le}, 0.0, REQUESTS_PER_SECOND * within
    yield f"{metric}_count", labels, 0.0, REQUESTS_PER_SECOND
    yield f"{metric}_sum", labels, 0.0, REQUESTS_PER_SECOND * MEDIAN_SECONDS


def _model_server(service: int, replica: int, hosts: int) -> Iterator[Row]:
    host = (service * REPLICAS + replica) % hosts
    labels = {"job": "vllm", "instance": f"r-{service}-{replica}.h-{host}:8000", "model_name": "m"} | _service(service)
    yield "up", {"job": "vllm", "instance": labels["instance"]}, 1.0, 0.0
    for name, value in (("num_requests_running", 8.1), ("num_requests_waiting", 0.1), ("kv_cache_usage_perc", 0.41)):
        yield f"vllm:{name}", labels, value, 0.0
    for name, rate in (
        *(("num_preemptions", 0.0), ("request_success", REQUESTS_PER_SECOND / REPLICAS)),
        *(("prompt_tokens", 3000.0), ("generation_tokens", 1500.0)),
    ):
        yield f"vllm:{name}_total", labels, 0.0, rate
    for name in ("request_queue_time", "inter_token_latency", "e2e_request_latency", "time_to_first_token"):
        yield from _histogram(f"vllm:{name}_seconds", labels)
