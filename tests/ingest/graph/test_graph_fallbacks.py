"""Failed calls under one span that a call to another service or model replaces."""

from __future__ import annotations

import pytest
from tests.ingest.graph.calls import NOW, Call, chat, counts, found, texts, twice
from tests.ingest.graph.counts import Make


def test_a_failed_call_replaced_by_another_service_is_a_fallback(call: Call) -> None:
    """A later success does not hide it."""
    result = found([*call(0, "big", "error"), *call(1, "small")])
    assert texts(result.fallbacks) == ["web: big > small"]
    assert counts(result) == {"web>big": (1, 1, 0), "web>small": (1, 0, 0)}


def test_all_failed_calls_of_a_chain_have_the_same_fallback(call: Call) -> None:
    """Two failed, and the third succeeded."""
    result = found([*call(0, "big", "error"), *call(1, "middle", "error"), *call(2, "small"), *call(3, "tiny")])
    assert texts(result.fallbacks) == ["web: big > small", "web: middle > small"]


@pytest.mark.parametrize(
    "second",
    [
        {"callee": "big"},
        {"callee": "small", "status": "error"},
        {"callee": "small", "url": "/v1/score"},
        {"callee": "small", "seconds": 5.0},
    ],
    ids=["a retry", "failed as well", "another task", "begun before the first one failed"],
)
def test_a_call_that_replaces_no_failed_call_is_no_fallback(call: Call, second: dict[str, object]) -> None:
    """Retries, fan-out, and independent work."""
    assert found([*call(0, "big", "error"), *call(1, **second)]).fallbacks == []


def test_a_successful_retry_has_no_fallback(call: Call) -> None:
    """The first success decides, here at the same callee."""
    result = found([*call(0, "big", "error"), *call(1, "big"), *call(2, "small")])
    assert (result.fallbacks, counts(result)["web>big"]) == ([], (2, 1, 1))


def test_calls_under_different_spans_are_independent(span: Make) -> None:
    """A call of another request is no fallback."""
    one = span("client", "web", 1, 8, status="error", attributes={"peer.service": "big"})
    other = span("client", "web", 2, 9, end=NOW + 1, attributes={"peer.service": "small"})
    assert found([one, other]).fallbacks == []


def test_a_model_that_another_provider_or_model_replaces_is_a_fallback(span: Make) -> None:
    """Names and addresses of the calls differ; their operation is the same."""
    other = found([*chat(span, 0, "gpt-5", "error"), *chat(span, 1, "opus", provider="anthropic")])
    assert texts(other.fallbacks) == ["agent: openai:gpt-5 > anthropic:opus"]
    smaller = found([*chat(span, 0, "gpt-5", "error"), *chat(span, 1, "gpt-5-mini")])
    assert texts(smaller.fallbacks) == ["agent: openai:gpt-5 > openai:gpt-5-mini"]
    assert counts(smaller) == {"agent>openai": (2, 1, 0)}


def test_a_call_with_a_failed_server_side_may_have_a_fallback(span: Make) -> None:
    """Another service replaces it."""
    spans = twice(span, ("generate", "error"), callee="small")
    assert texts(found(spans).fallbacks) == texts(found(spans[::-1]).fallbacks) == ["web: llm > small"]
