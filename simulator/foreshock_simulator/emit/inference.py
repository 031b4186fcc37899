"""What model servers say of themselves, under vLLM's names (its docs/usage/metrics)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

from foreshock_simulator.names import ServiceName
from foreshock_simulator.serving.server import ModelStats

Reading = tuple[str, str, Mapping[str, str], float]
"""Name, the family's type, labels, value; the label `instance` is that of the server."""
PORT = 8000


class Server(NamedTuple):
    """A model server: where it is, whose, what it serves, and its figures."""

    instance: str
    service: ServiceName
    model: str
    language: bool
    stats: ModelStats


def readings(servers: Iterable[Server]) -> Iterator[Reading]:
    """The servers' figures. One that serves no language model has no tokens and no cache of keys and values."""
    for server in servers:
        labels = {
            "instance": server.instance,
            "service_name": server.service.name,
            "service_namespace": server.service.namespace,
            "model_name": server.model,
            "engine": "0",
        }
        stats = server.stats
        yield "vllm:num_requests_running", "gauge", labels, stats.num_requests_running
        yield "vllm:num_requests_waiting", "gauge", labels, stats.num_requests_waiting
        yield (
            "vllm:request_success_total",
            "counter",
            {**labels, "finished_reason": "stop"},
            stats.request_success_total,
        )
        timings = list(stats.histograms.items())
        if server.language:
            yield "vllm:kv_cache_usage_perc", "gauge", labels, stats.kv_cache_usage_ratio
            yield "vllm:num_preemptions_total", "counter", labels, stats.num_preemptions_total
            yield "vllm:prompt_tokens_total", "counter", labels, stats.prompt_tokens_total
            yield "vllm:generation_tokens_total", "counter", labels, stats.generation_tokens_total
        else:
            timings = [each for each in timings if each[0] in ("e2e_request_latency", "request_queue_time")]
        for timing, state in timings:
            name = f"vllm:{timing}_seconds"
            counts = [*accumulate(state.counts)]
            for bound, count in zip((*map(repr, map(float, state.bounds)), "+Inf"), counts, strict=True):
                yield f"{name}_bucket", "histogram", {**labels, "le": bound}, count
            yield f"{name}_sum", "histogram", labels, state.sum
            yield f"{name}_count", "histogram", labels, counts[-1]
