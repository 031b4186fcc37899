"""Metrics of a model server under vLLM's names (its docs/usage/metrics)."""

from __future__ import annotations

from typing import Final

from foreshock_exporter.model.family import Families, Family, HistogramSample, Kind, Sample
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.serving.server import BUCKET_BOUNDS, ModelStats, Timing

PORT: Final = 8000
ENGINE: Final = "0"
"""The only engine of a server."""

_LABELS = ("service_name", "service_namespace", "model_name", "engine")


def _family(name: str, kind: Kind, help_: str, *labels: str) -> Family:
    return Family(f"vllm:{name}", kind, (*_LABELS, *labels), help_)


RUNNING = _family("num_requests_running", "gauge", "Requests in the running batch.")
WAITING = _family("num_requests_waiting", "gauge", "Requests that wait for a place in it.")
SUCCESS = _family("request_success_total", "counter", "Requests completed.", "finished_reason")
KV_CACHE_USAGE = _family("kv_cache_usage_perc", "gauge", "KV cache usage; 1 is full.")
PREEMPTIONS = _family("num_preemptions_total", "counter", "Requests preempted because the KV cache was full.")
PROMPT_TOKENS = _family("prompt_tokens_total", "counter", "Prompt tokens processed.")
GENERATION_TOKENS = _family("generation_tokens_total", "counter", "Tokens generated.")
TIMINGS: Final = {
    timing: Family(f"vllm:{timing}_seconds", "histogram", _LABELS, f"{timing.replace('_', ' ')}, in seconds.", bounds)
    for timing, bounds in BUCKET_BOUNDS.items()
}
TIMINGS_OF_ANY_MODEL: Final[frozenset[Timing]] = frozenset(("e2e_request_latency", "request_queue_time"))


def families(service: ServiceName, model: str, stats: ModelStats, *, is_llm: bool) -> Families:
    """The metric families of a server. Without `is_llm`, they include no tokens and no KV cache."""
    labels = (service.name, service.namespace, model, ENGINE)

    def with_value(family: Family, value: float, *extra_labels: str) -> tuple[Family, list[Sample]]:
        return family, [Sample((*labels, *extra_labels), value)]

    result: list[tuple[Family, list[Sample] | list[HistogramSample]]] = [
        with_value(RUNNING, stats.num_requests_running),
        with_value(WAITING, stats.num_requests_waiting),
        with_value(SUCCESS, stats.request_success_total, "stop"),
    ]
    if is_llm:
        result += (
            with_value(KV_CACHE_USAGE, stats.kv_cache_usage_ratio),
            with_value(PREEMPTIONS, stats.num_preemptions_total),
            with_value(PROMPT_TOKENS, stats.prompt_tokens_total),
            with_value(GENERATION_TOKENS, stats.generation_tokens_total),
        )
    for timing, state in stats.histograms.items():
        if is_llm or timing in TIMINGS_OF_ANY_MODEL:
            result.append((TIMINGS[timing], [HistogramSample(labels, state.counts, state.sum)]))
    return result
