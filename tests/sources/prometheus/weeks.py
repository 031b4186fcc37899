"""Weeks of a small platform with model servers, as Prometheus stores them.

Load has a daily course with its peak at 14:00 UTC, the least on Monday and at weekends, and grows by 2% a day.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from tests.sources.prometheus.conftest import Row

from foreshock_dashboard.model.types import Floats

DAY = 86_400.0
STEP = 15.0
"""Seconds between the points from which counters are summed up, and between samples of the last hours."""
PEAK_HOUR, GROWTH_PER_DAY = 14.0, 1.02
WEEKDAYS = (0.80, 1.0, 0.97, 0.96, 0.9, 0.55, 0.5)
"""Peak of each day from Monday on, over that of Tuesday."""
BASE_SECONDS, SECONDS_PER_SEQUENCE, MAX_SEQUENCES, TOKENS_PER_REQUEST = 0.02, 0.0004, 100.0, 250.0
"""The batching law of each model server, its sequences at a full KV cache, and the length of its answers."""
FULL_TOKENS = MAX_SEQUENCES / (BASE_SECONDS + SECONDS_PER_SEQUENCE * MAX_SEQUENCES)
"""Tokens per second of a full replica: 1,667."""
BUCKETS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0)
NAMESPACE, POOL, QUOTA, GPUS_PER_HOST = "serving", "chat", 12, 4


@dataclass(frozen=True)
class Server:
    """A service of model servers, one GPU each. load: its load at Tuesday's peak over the capacity of `replicas`."""

    name: str
    replicas: int
    max_replicas: int
    load: float


SERVERS = (Server("llm-chat", 4, 5, 1.05), Server("llm-code", 3, 3, 0.45), Server("llm-embed", 2, 3, 0.3))


def shape(times: Floats) -> Floats:
    """Share of Tuesday's peak at times (Unix seconds), without growth."""
    day = (times // DAY).astype(int) + 3  # 1970-01-01 was a Thursday
    hours = times % DAY / 3600
    course = 0.25 + 0.75 * np.exp(-(((hours - PEAK_HOUR) / 5.0) ** 2))
    share: Floats = np.array(WEEKDAYS)[day % 7] * course
    return share


def requests(server: Server, times: Floats, tuesday: float) -> Floats:
    """Requests per second. tuesday: Unix seconds within the day on which growth is 1."""
    grown = GROWTH_PER_DAY ** ((times - tuesday) / DAY)
    noise = 1 + 0.02 * np.random.default_rng([len(server.name), 7]).standard_normal(len(times))
    full = server.replicas * FULL_TOKENS / TOKENS_PER_REQUEST
    rate: Floats = server.load * full * shape(times) * grown * noise
    return rate


def rows(times: Floats, tuesday: float) -> Iterator[Row]:
    """Every series of the platform at `times`, which are `STEP` apart."""
    number = 0
    gateway = np.zeros(len(times))
    for server in SERVERS:
        rate = requests(server, times, tuesday)
        gateway += rate
        tokens = np.minimum(rate * TOKENS_PER_REQUEST / server.replicas, 0.98 * FULL_TOKENS)
        running = BASE_SECONDS * tokens / (1 - SECONDS_PER_SEQUENCE * tokens)
        per_token = BASE_SECONDS + SECONDS_PER_SEQUENCE * running
        yield from spans(server.name, rate, 0.1 + per_token * TOKENS_PER_REQUEST)
        yield from calls("gateway", server.name, rate, 0.1 + per_token * TOKENS_PER_REQUEST)
        yield from workload(server, len(times))
        for replica in range(server.replicas):
            host, gpu = divmod(number, GPUS_PER_HOST)
            yield from replica_rows(server, replica, tokens, running, per_token)
            yield from gpu_rows(f"host-{host + 1}", gpu, server.name, running)
            number += 1
    yield from spans("gateway", gateway, np.full(len(times), 12.0))
    for spare in range(number, QUOTA):
        host, gpu = divmod(spare, GPUS_PER_HOST)
        yield from gpu_rows(f"host-{host + 1}", gpu, "", np.zeros(len(times)))
    for kind, value in (("hard", QUOTA), ("used", number)):
        labels = {"namespace": NAMESPACE, "resourcequota": POOL, "resource": "requests.nvidia.com/gpu", "type": kind}
        yield "kube_resourcequota", KUBE | labels, np.full(len(times), float(value))
    for host in range(QUOTA // GPUS_PER_HOST):
        yield from host_rows(f"host-{host + 1}", (times - tuesday) / DAY if host == 1 else np.zeros(len(times)))


KUBE = {"job": "kube-state-metrics", "instance": "kube-state-metrics:8080"}


def spans(service: str, rate: Floats, seconds: Floats) -> Iterator[Row]:
    """Span metrics of a service: rate per second, and seconds that each request takes, which spread by half."""
    labels = {"job": "collector", "instance": "collector:8889", "service_name": service, "service_namespace": NAMESPACE}
    of = labels | {"span_kind": "SPAN_KIND_SERVER", "span_name": "POST /v1/chat/completions"}
    yield "traces_span_metrics_calls_total", of | {"status_code": "STATUS_CODE_UNSET"}, total(0.999 * rate)
    yield "traces_span_metrics_calls_total", of | {"status_code": "STATUS_CODE_ERROR"}, total(0.001 * rate)
    yield from histogram(
        "traces_span_metrics_duration_seconds", of | {"status_code": "STATUS_CODE_UNSET"}, rate, seconds
    )


def calls(client: str, server: str, rate: Floats, seconds: Floats) -> Iterator[Row]:
    """Service graph of one pair."""
    of = {"job": "collector", "instance": "collector:8889", "connection_type": ""}
    of |= {"client": client, "client_service_namespace": NAMESPACE}
    of |= {"server": server, "server_service_namespace": NAMESPACE}
    yield "traces_service_graph_request_total", of, total(rate)
    yield from histogram("traces_service_graph_request_client_seconds", of, rate, seconds)
    yield from histogram("traces_service_graph_request_server_seconds", of, rate, seconds)


def histogram(name: str, labels: Mapping[str, str], rate: Floats, seconds: Floats) -> Iterator[Row]:
    """Of requests that take 0.5 to 1.5 times `seconds`, evenly."""
    for bound in BUCKETS:
        share = np.clip(bound / seconds - 0.5, 0.0, 1.0)
        yield f"{name}_bucket", {**labels, "le": str(bound)}, total(rate * share)
    yield f"{name}_bucket", {**labels, "le": "+Inf"}, total(rate)
    yield f"{name}_count", labels, total(rate)
    yield f"{name}_sum", labels, total(rate * seconds)


def workload(server: Server, points: int) -> Iterator[Row]:
    """Deployment and autoscaler in kube-state-metrics."""
    deployment = KUBE | {"namespace": NAMESPACE, "deployment": server.name}
    scaler = KUBE | {"namespace": NAMESPACE, "horizontalpodautoscaler": server.name}
    yield "kube_deployment_spec_replicas", deployment, np.full(points, float(server.replicas))
    yield "kube_deployment_status_replicas_ready", deployment, np.full(points, float(server.replicas))
    target = {"scaletargetref_kind": "Deployment", "scaletargetref_name": server.name}
    yield "kube_horizontalpodautoscaler_info", scaler | target, np.ones(points)
    yield "kube_horizontalpodautoscaler_status_desired_replicas", scaler, np.full(points, float(server.replicas))
    yield "kube_horizontalpodautoscaler_spec_max_replicas", scaler, np.full(points, float(server.max_replicas))


def replica_rows(server: Server, replica: int, tokens: Floats, running: Floats, per_token: Floats) -> Iterator[Row]:
    """A vLLM server."""
    pod = f"{server.name}-{replica}"
    target = {"job": "vllm", "instance": f"{pod}:8000", "pod": pod, "namespace": NAMESPACE}
    of = target | {"service_name": server.name, "service_namespace": NAMESPACE, "model_name": server.name}
    requests_per_second = tokens / TOKENS_PER_REQUEST
    yield "up", target, np.ones(len(tokens))
    yield "vllm:num_requests_running", of, np.round(running)
    yield "vllm:num_requests_waiting", of, np.zeros(len(tokens))
    yield "vllm:kv_cache_usage_perc", of, np.minimum(running / MAX_SEQUENCES, 1.0)
    yield "vllm:generation_tokens_total", of, total(tokens)
    yield "vllm:prompt_tokens_total", of, total(4 * tokens)
    yield "vllm:request_success_total", of | {"finished_reason": "stop"}, total(requests_per_second)
    yield "vllm:inter_token_latency_seconds_sum", of, total(tokens * per_token)
    yield "vllm:inter_token_latency_seconds_count", of, total(tokens)


def gpu_rows(host: str, gpu: int, service: str, running: Floats) -> Iterator[Row]:
    """A GPU of the pool, as foreshock-exporter reports it; service: "" where it is free."""
    of = {"job": "foreshock-exporter", "instance": f"{host}:10877", "uuid": f"GPU-{host}-{gpu}"}
    busy = np.clip(0.2 + running / MAX_SEQUENCES, 0.0, 1.0) if service else np.zeros(len(running))
    ones = np.ones(len(running))
    yield "gpu_info", of | {"gpu": str(gpu), "model": "H100", "host_name": host}, ones
    yield "gpu_pool_info", of | {"pool": POOL}, ones
    yield "gpu_busy_seconds_total", of, total(busy)
    yield "gpu_memory_used_bytes", of, (70e9 if service else 1e9) * ones
    yield "gpu_memory_total_bytes", of, 80e9 * ones
    if service:
        tenant = of | {"service_name": service, "service_namespace": NAMESPACE}
        yield "gpu_service_busy_seconds_total", tenant, total(busy)
        yield "gpu_service_memory_used_bytes", tenant, 70e9 * ones


def host_rows(host: str, days: Floats) -> Iterator[Row]:
    """Memory of a host, of which 2% of all is used more each day; days: days from 1 day before Tuesday."""
    exporter = {"job": "foreshock-exporter", "instance": f"{host}:10877"}
    yield "up", exporter, np.ones(len(days))
    yield "target_info", exporter | {"host_name": host}, np.ones(len(days))
    of = {"job": "node", "instance": f"{host}:9100"}
    yield "up", of, np.ones(len(days))
    yield "node_uname_info", of | {"nodename": host}, np.ones(len(days))
    yield "node_memory_MemTotal_bytes", of, np.full(len(days), 1e12)
    yield "node_memory_MemAvailable_bytes", of, 1e12 * (0.1 - 0.02 * days)


def total(rate: Floats) -> Floats:
    """A counter that grows by a rate per second."""
    counter: Floats = np.cumsum(rate) * STEP
    return counter
