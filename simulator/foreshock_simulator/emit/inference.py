"""What a model server says of itself, under vLLM's names (its docs/usage/metrics)."""

from __future__ import annotations

from typing import Final

from foreshock_exporter.model.family import Families, Family, HistogramSample, Kind, Sample
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.serving.server import BOUNDS, ModelStats, Timing

PORT: Final = 8000
ENGINE: Final = "0"
"""Of a server's engines, of which these have one."""

_LABELS = ("service_name", "service_namespace", "model_name", "engine")


def _family(name: str, kind: Kind, help_: str, *labels: str) -> Family:
    return Family(f"vllm:{name}", kind, (*_LABELS, *labels), help_)


RUNNING = _family("num_requests_running", "gauge", "Requests in the running batch.")
WAITING = _family("num_requests_waiting", "gauge", "Requests that wait for a place in it.")
SUCCESS = _family("request_success_total", "counter", "Requests that got their whole answer.", "finished_reason")
CACHE = _family("kv_cache_usage_perc", "gauge", "Use of the cache of keys and values, 1 is full.")
PREEMPTIONS = _family("num_preemptions_total", "counter", "Requests put back for want of cache.")
PROMPT_TOKENS = _family("prompt_tokens_total", "counter", "Tokens of prompts worked on.")
GENERATION_TOKENS = _family("generation_tokens_total", "counter", "Tokens generated.")
TIMINGS: Final = {
    timing: Family(f"vllm:{timing}_seconds", "histogram", _LABELS, f"{timing.replace('_', ' ')}, in seconds.", bounds)
    for timing, bounds in BOUNDS.items()
}
OF_ANY_MODEL: Final[frozenset[Timing]] = frozenset(("e2e_request_latency", "request_queue_time"))


def emit(service: ServiceName, model: str, stats: ModelStats, *, language: bool) -> Families:
    """A server's page of metrics. One that serves no language model has no tokens and no cache of keys and values."""
    labels = (service.name, service.namespace, model, ENGINE)

    def one(family: Family, value: float, *more: str) -> tuple[Family, list[Sample]]:
        return family, [Sample((*labels, *more), value)]

    told: list[tuple[Family, list[Sample] | list[HistogramSample]]] = [
        one(RUNNING, stats.num_requests_running),
        one(WAITING, stats.num_requests_waiting),
        one(SUCCESS, stats.request_success_total, "stop"),
    ]
    if language:
        told += (
            one(CACHE, stats.kv_cache_usage_ratio),
            one(PREEMPTIONS, stats.num_preemptions_total),
            one(PROMPT_TOKENS, stats.prompt_tokens_total),
            one(GENERATION_TOKENS, stats.generation_tokens_total),
        )
    for timing, state in stats.histograms.items():
        if language or timing in OF_ANY_MODEL:
            told.append((TIMINGS[timing], [HistogramSample(labels, state.counts, state.sum)]))
    return told
