"""Catalogue of model servers: vLLM, SGLang, TGI, and Triton."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from foreshock_dashboard.model.query import Query
from foreshock_dashboard.world.catalogue.row import (
    POD_LABELS,
    SERVICE_LABELS,
    TARGET_LABELS,
    CatalogueRow,
    Producer,
    RateWindows,
)

SERVICE_MODEL_LABELS = (*SERVICE_LABELS, "model_name")
SERVER_LABELS = (*TARGET_LABELS, *POD_LABELS, *SERVICE_MODEL_LABELS)
_TRITON_LABELS = (*TARGET_LABELS, *POD_LABELS, *SERVICE_LABELS, "model")
_TRITON_RENAMES = {"model": "model_name"}
_SECONDS_PER_MICROSECOND = 1e-6


def readings(windows: RateWindows) -> Mapping[str, CatalogueRow]:
    """Readings of queues, batches, caches, and latencies per server.

    Names: docs.vllm.ai/en/stable/usage/metrics, docs.sglang.io/references/production_metrics, TGI's reference of
    metrics, Triton's user guide of metrics. vLLM renamed gpu_cache_usage_perc to kv_cache_usage_perc and
    time_per_output_token to inter_token_latency. Cache usage is averaged over the engines of a data-parallel server.
    Servers behind one metrics endpoint are distinguished by their pods.
    """
    last, rate = windows.last, windows.rate

    def producer(query: Callable[..., Query], metric: str, scale: float = 1.0) -> Producer:
        triton = metric.startswith("nv_")
        return Producer(
            query(metric, _TRITON_LABELS if triton else SERVER_LABELS), _TRITON_RENAMES if triton else {}, scale=scale
        )

    success = producer(rate, "nv_inference_request_success")

    def duration_rows(
        key: str, lost: str, names: tuple[str, ...], also: tuple[str, ...], triton: str = ""
    ) -> dict[str, CatalogueRow]:
        def row(suffix: str, more: tuple[Producer, ...]) -> CatalogueRow:
            forms = tuple(producer(rate, f"{name}_{suffix}") for name in names[1:])
            others = tuple(producer(rate, f"{name}_{suffix}") for name in also)
            return CatalogueRow(rate(f"{names[0]}_{suffix}", SERVER_LABELS), lost, forms, (*others, *more))

        duration, count = ((producer(rate, triton, _SECONDS_PER_MICROSECOND),), (success,)) if triton else ((), ())
        return {f"{key}_sum": row("sum", duration), f"{key}_count": row("count", count)}

    return {
        "running": CatalogueRow(
            last("vllm:num_requests_running", SERVER_LABELS),
            "requests in batches",
            also=(producer(last, "sglang:num_running_reqs"), producer(last, "tgi_batch_current_size")),
        ),
        "waiting": CatalogueRow(
            last("vllm:num_requests_waiting", SERVER_LABELS),
            "queues of model servers",
            also=(
                producer(last, "sglang:num_queue_reqs"),
                producer(last, "tgi_queue_size"),
                producer(last, "nv_inference_pending_request_count"),
            ),
        ),
        "cache": CatalogueRow(
            last("vllm:kv_cache_usage_perc", (*SERVER_LABELS, "engine")),
            "use of the KV cache",
            forms=(Producer(last("vllm:gpu_cache_usage_perc", (*SERVER_LABELS, "engine")), {}),),
            also=(producer(last, "sglang:token_usage"),),
        ),
        "preempted": CatalogueRow(rate("vllm:num_preemptions_total", SERVER_LABELS), "preemptions"),
        "finished": CatalogueRow(
            rate("vllm:request_success_total", SERVER_LABELS),
            "requests that model servers answer",
            also=(producer(rate, "sglang:num_requests_total"), producer(rate, "tgi_request_success"), success),
        ),
        "prompt_tokens": CatalogueRow(
            rate("vllm:prompt_tokens_total", SERVER_LABELS),
            "length of prompts",
            also=(producer(rate, "sglang:prompt_tokens_total"), producer(rate, "tgi_request_input_length_sum")),
        ),
        "generated_tokens": CatalogueRow(
            rate("vllm:generation_tokens_total", SERVER_LABELS),
            "length of answers",
            also=(producer(rate, "sglang:generation_tokens_total"), producer(rate, "tgi_request_generated_tokens_sum")),
        ),
        "first_token_seconds": CatalogueRow(
            windows.buckets("vllm:time_to_first_token_seconds", SERVICE_MODEL_LABELS),
            "time to the first token",
            also=(Producer(windows.buckets("sglang:time_to_first_token_seconds", SERVICE_MODEL_LABELS), {}),),
        ),
        **duration_rows(
            "queued",
            "time in the queue",
            ("vllm:request_queue_time_seconds",),
            ("sglang:queue_time_seconds", "tgi_request_queue_duration"),
            "nv_inference_queue_duration_us",
        ),
        **duration_rows(
            "per_token",
            "time per token",
            ("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"),
            ("sglang:inter_token_latency_seconds", "tgi_request_mean_time_per_token_duration"),
        ),
        **duration_rows(
            "answered",
            "how long each replica takes",
            ("vllm:e2e_request_latency_seconds",),
            ("sglang:e2e_request_latency_seconds", "tgi_request_duration"),
            "nv_inference_request_duration_us",
        ),
    }
