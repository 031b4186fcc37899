"""The metrics that are made of spans."""

from __future__ import annotations

from foreshock_dashboard.ingest.span_metrics.registry import Family

REQUESTS = Family("traces_service_graph_request_total", "counter", "Requests between two services.")
FAILED = Family("traces_service_graph_request_failed_total", "counter", "Requests between two services that failed.")
CLIENT_SECONDS = Family(
    "traces_service_graph_request_client_seconds", "histogram", "Seconds of a request as its client saw it."
)
SERVER_SECONDS = Family(
    "traces_service_graph_request_server_seconds", "histogram", "Seconds of a request as its server saw it."
)
RETRIES = Family("foreshock_retry_attempts_total", "counter", "Requests that repeat a failed one.")
FALLBACKS = Family(
    "foreshock_fallback_calls_total",
    "counter",
    "Failed requests in whose place another service or model answered; each attempt that failed is one.",
)
CALLS = Family("traces_span_metrics_calls_total", "counter", "Spans of each operation.")
DURATION = Family("traces_span_metrics_duration_seconds", "histogram", "Seconds that each operation's spans took.")
LLM_QUEUE = Family("foreshock_llm_queue_seconds", "histogram", "Seconds that requests to a model waited in its queue.")
LLM_FIRST_TOKEN = Family(
    "foreshock_llm_time_to_first_token_seconds", "histogram", "Seconds until the first token of a model's answer."
)
LLM_TOKENS = Family("foreshock_llm_tokens_total", "counter", "Tokens that requests to a model had, and its answers.")
UNPAIRED = Family(
    "foreshock_service_graph_unpaired_spans_total", "counter", "Spans whose other half did not come in time."
)
DROPPED = Family(
    "foreshock_service_graph_dropped_spans_total", "counter", "Spans not paired because too many waited already."
)
LATE = Family("foreshock_spans_late_total", "counter", "Spans that ended too long ago to be counted.")
EARLY = Family("foreshock_spans_early_total", "counter", "Spans that end too far in the future to be counted.")
DUPLICATE = Family("foreshock_spans_duplicate_total", "counter", "Spans that came again and were not counted again.")
CLAMPED = Family("foreshock_spans_clamped_total", "counter", "Spans that ended before they started, counted as 0 s.")
UNCOUNTED = Family(
    "foreshock_spans_uncounted_total", "counter", "Spans that were kept although counting them failed; see the log."
)
OVERFLOW = Family(
    "foreshock_span_metrics_overflow_total",
    "counter",
    "Counts in the series of `(other)`, for want of room.",
)
