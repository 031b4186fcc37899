"""What is read of model servers: vLLM, and beside it SGLang, TGI and Triton under names of their own."""

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

SERVICE_MODEL = (*SERVICE_LABELS, "model_name")
SERVER = (*TARGET_LABELS, *POD_LABELS, *SERVICE_MODEL)
_TRITON = (*TARGET_LABELS, *POD_LABELS, *SERVICE_LABELS, "model")
_LABELS = {"model": "model_name"}
_MICRO = 1e-6


def readings(windows: RateWindows) -> Mapping[str, CatalogueRow]:
    """Queues, batches, caches and latencies, per server.

    Names: docs.vllm.ai/en/stable/usage/metrics, docs.sglang.io/references/production_metrics, TGI's reference of
    metrics, Triton's user guide of metrics. vLLM renamed gpu_cache_usage_perc to kv_cache_usage_perc and
    time_per_output_token to inter_token_latency. An engine of a data-parallel server counts apart where shares are
    averaged; servers that share a page are told apart by their pods.
    """
    last, rate = windows.last, windows.rate

    def of(ask: Callable[..., Query], metric: str, scale: float = 1.0) -> Producer:
        triton = metric.startswith("nv_")
        return Producer(ask(metric, _TRITON if triton else SERVER), _LABELS if triton else {}, scale=scale)

    success = of(rate, "nv_inference_request_success")

    def timed(
        key: str, lost: str, names: tuple[str, ...], also: tuple[str, ...], triton: str = ""
    ) -> dict[str, CatalogueRow]:
        def part(suffix: str, more: tuple[Producer, ...]) -> CatalogueRow:
            forms = tuple(of(rate, f"{name}_{suffix}") for name in names[1:])
            others = tuple(of(rate, f"{name}_{suffix}") for name in also)
            return CatalogueRow(rate(f"{names[0]}_{suffix}", SERVER), lost, forms, (*others, *more))

        duration, count = ((of(rate, triton, _MICRO),), (success,)) if triton else ((), ())
        return {f"{key}_sum": part("sum", duration), f"{key}_count": part("count", count)}

    return {
        "running": CatalogueRow(
            last("vllm:num_requests_running", SERVER),
            "requests in batches",
            also=(of(last, "sglang:num_running_reqs"), of(last, "tgi_batch_current_size")),
        ),
        "waiting": CatalogueRow(
            last("vllm:num_requests_waiting", SERVER),
            "queues of model servers",
            also=(
                of(last, "sglang:num_queue_reqs"),
                of(last, "tgi_queue_size"),
                of(last, "nv_inference_pending_request_count"),
            ),
        ),
        "cache": CatalogueRow(
            last("vllm:kv_cache_usage_perc", (*SERVER, "engine")),
            "use of the KV cache",
            forms=(Producer(last("vllm:gpu_cache_usage_perc", (*SERVER, "engine")), {}),),
            also=(of(last, "sglang:token_usage"),),
        ),
        "preempted": CatalogueRow(rate("vllm:num_preemptions_total", SERVER), "preemptions"),
        "finished": CatalogueRow(
            rate("vllm:request_success_total", SERVER),
            "requests that model servers answer",
            also=(of(rate, "sglang:num_requests_total"), of(rate, "tgi_request_success"), success),
        ),
        "prompt_tokens": CatalogueRow(
            rate("vllm:prompt_tokens_total", SERVER),
            "length of prompts",
            also=(of(rate, "sglang:prompt_tokens_total"), of(rate, "tgi_request_input_length_sum")),
        ),
        "generated_tokens": CatalogueRow(
            rate("vllm:generation_tokens_total", SERVER),
            "length of answers",
            also=(of(rate, "sglang:generation_tokens_total"), of(rate, "tgi_request_generated_tokens_sum")),
        ),
        "first_token_seconds": CatalogueRow(
            windows.buckets("vllm:time_to_first_token_seconds", SERVICE_MODEL),
            "time to the first token",
            also=(Producer(windows.buckets("sglang:time_to_first_token_seconds", SERVICE_MODEL), {}),),
        ),
        **timed(
            "queued",
            "time in the queue",
            ("vllm:request_queue_time_seconds",),
            ("sglang:queue_time_seconds", "tgi_request_queue_duration"),
            "nv_inference_queue_duration_us",
        ),
        **timed(
            "per_token",
            "time per token",
            ("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"),
            ("sglang:inter_token_latency_seconds", "tgi_request_mean_time_per_token_duration"),
        ),
        **timed(
            "answered",
            "how long each replica takes",
            ("vllm:e2e_request_latency_seconds",),
            ("sglang:e2e_request_latency_seconds", "tgi_request_duration"),
            "nv_inference_request_duration_us",
        ),
    }
