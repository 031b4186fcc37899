"""Model requests are read from current and former attribute names."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_dashboard.ingest.otlp.gen_ai import LlmRequest, llm_request, provider_of
from foreshock_dashboard.ingest.span_metrics.counters import MAX_MODELS
from foreshock_dashboard.ingest.span_metrics.span_metrics import SpanMetrics
from foreshock_dashboard.model.samples import Sample
from foreshock_dashboard.model.span import AttributeValue, Span

Make = Callable[..., Span]


def llm(metrics: SpanMetrics, now: float) -> dict[str, float]:
    """Figures of models by `metric service model token_type`, without buckets."""
    metrics.collect(now)
    return {
        " ".join((sample.metric.removeprefix("foreshock_llm_"), *_labels(sample))): sample.value
        for sample in metrics.collect(now)
        if sample.metric.startswith("foreshock_llm_") and not sample.metric.endswith("_bucket")
    }


def _labels(sample: Sample) -> list[str]:
    labels = dict(sample.labels)
    names = ("service_namespace", "service_name", "gen_ai_request_model", "gen_ai_token_type")
    return [labels[name] for name in names if name in labels]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (
            {
                "gen_ai.latency.time_in_queue": 0.25, "gen_ai.latency.time_to_first_token": 0.5,
                "gen_ai.usage.prompt_tokens": 900, "gen_ai.usage.completion_tokens": 80,
                "gen_ai.response.model": "llama",
            },
            LlmRequest("llama", 0.25, 0.5, 900, 80),
        ),
        (
            {
                "gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-5", "gen_ai.response.model": "gpt-5-0809",
                "gen_ai.usage.input_tokens": 9, "gen_ai.usage.output_tokens": 0,
                "gen_ai.response.time_to_first_chunk": 0.4,
            },
            LlmRequest("gpt-5", None, 0.4, 9, 0),
        ),
        ({"gen_ai.usage.input_tokens": 5, "gen_ai.usage.prompt_tokens": 7}, LlmRequest("", None, None, 5, None)),
        ({"gen_ai.latency.time_in_queue": 0}, LlmRequest("", 0, None, None, None)),
        ({"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-5"}, None),
        ({"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 900}, None),
        ({"gen_ai.latency.time_in_queue": -1.0}, None),
        ({"gen_ai.latency.time_in_queue": float("nan"), "gen_ai.usage.input_tokens": float("inf")}, None),
        ({"gen_ai.latency.time_in_queue": "fast", "gen_ai.usage.input_tokens": True}, None),
        ({}, None),
    ],
    ids=[
        "vLLM", "the conventions", "both names", "no wait is a wait of 0", "nothing measured",
        "an agent sums up its calls", "negative", "no number", "another type", "no attributes",
    ],
)  # fmt: skip
def test_a_request_is_read_from_current_and_former_attributes(
    attributes: Mapping[str, AttributeValue], expected: LlmRequest | None
) -> None:
    """An absent or malformed value is None, not 0."""
    assert llm_request(attributes) == expected


@given(
    st.dictionaries(
        st.sampled_from(
            ["gen_ai.latency.time_in_queue", "gen_ai.usage.input_tokens", "gen_ai.request.model", "gen_ai.system",
             "gen_ai.provider.name", "gen_ai.operation.name", "server.address", "db.system", "url.full",
             "http.request.resend_count", "messaging.system", "server.port"]
        ),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5)
        | st.lists(st.integers(), max_size=2) | st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    ),
    st.sampled_from(["client", "server", "internal", "producer", "consumer"]),
)  # fmt: skip
def test_attributes_of_any_type_are_accepted(span: Make, attributes: dict[str, AttributeValue], kind: str) -> None:
    """Their types are up to the sender."""
    now = 1_800_000_000.0
    metrics = SpanMetrics()
    metrics.add([span(kind, "a", 1, 2, attributes=attributes)], now)
    metrics.collect(now + 300)
    assert metrics.text(now + 301)


def test_queue_first_token_and_tokens_are_counted_per_service_and_model(span: Make, now: float) -> None:
    """Caller and model server have separate series."""
    served = {
        "gen_ai.latency.time_in_queue": 0.25, "gen_ai.latency.time_to_first_token": 0.5,
        "gen_ai.usage.prompt_tokens": 900, "gen_ai.usage.completion_tokens": 80, "gen_ai.response.model": "llama",
    }  # fmt: skip
    requested = {"gen_ai.request.model": "llama", "gen_ai.usage.input_tokens": 900, "gen_ai.usage.output_tokens": 80}
    metrics = SpanMetrics()
    metrics.add(
        [span("client", "shop/agent", 1, attributes=requested), span("server", "llm", 2, 1, attributes=served)], now
    )
    assert llm(metrics, now) == {
        "queue_duration_seconds_sum llm llama": 0.25,
        "queue_duration_seconds_count llm llama": 1,
        "time_to_first_token_seconds_sum llm llama": 0.5,
        "time_to_first_token_seconds_count llm llama": 1,
        "tokens_total llm llama input": 900,
        "tokens_total llm llama output": 80,
        "tokens_total shop agent llama input": 900,
        "tokens_total shop agent llama output": 80,
    }


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_instrumentations_of_one_call_are_one_request(span: Make, now: float, order: tuple[int, int]) -> None:
    """A framework's span around a library's, both with the tokens, in either order."""
    attributes = {"gen_ai.request.model": "gpt-5", "gen_ai.usage.input_tokens": 10}
    spans = [span("client", "agent", 1, 9, attributes=attributes), span("client", "agent", 2, 1, attributes=attributes)]
    other = span("client", "agent", 3, 9, attributes=attributes)
    metrics = SpanMetrics()
    for number in order:
        metrics.add([spans[number]], now)
    metrics.add([other], now)
    assert llm(metrics, now) == {"tokens_total agent gpt-5 input": 20}


def test_an_internal_span_of_an_engine_is_counted_once(span: Make, now: float) -> None:
    """A library that runs the model in its own process has no other span; a duplicate is not counted."""
    attributes = {"gen_ai.request.model": "llama", "gen_ai.latency.time_in_queue": 2.0}
    one = span("internal", "sglang", 1, 9, attributes=attributes)
    metrics = SpanMetrics()
    metrics.add([one, one], now)
    assert llm(metrics, now) == {
        "queue_duration_seconds_sum sglang llama": 2.0,
        "queue_duration_seconds_count sglang llama": 1,
    }
    assert not [sample for sample in metrics.collect(now) if sample.metric.startswith("traces_span")]


def test_models_are_bounded_and_the_rest_is_counted_together(span: Make, now: float) -> None:
    """Made-up names do not fill the memory."""
    metrics = SpanMetrics()
    for number in range(1, MAX_MODELS + 6):
        attributes = {"gen_ai.request.model": f"model-{number}", "gen_ai.usage.input_tokens": 1}
        metrics.add([span("client", "agent", number, trace=number, attributes=attributes)], now)
    tokens = llm(metrics, now)
    assert (len(tokens), tokens["tokens_total agent (other) input"]) == (MAX_MODELS + 1, 5)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("openai", "openai"), ("OpenAI", "openai"), ("az.ai.openai", "azure.ai.openai"),
        ("vertex_ai", "gcp.vertex_ai"), (" Anthropic ", "anthropic"), (7, ""), (None, ""), ("", ""),
    ],
)  # fmt: skip
def test_a_provider_has_one_name(value: AttributeValue, name: str) -> None:
    """The convention that wrote the value does not matter."""
    assert provider_of(value) == name
