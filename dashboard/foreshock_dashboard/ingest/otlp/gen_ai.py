"""Attributes of model requests: provider, model, queue time, time to first token, and tokens.

Names are those of OpenTelemetry's semantic conventions for generative AI (`gen_ai.*`, current and former ones), and of
vLLM's `llm_request` span; SGLang and TensorRT-LLM use its `gen_ai.latency.*`, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import NamedTuple

from foreshock_dashboard.model.span import Attributes, AttributeValue

PROVIDER = ("gen_ai.provider.name", "gen_ai.system")
OPERATION = ("gen_ai.operation.name", "llm.request.type")
MODEL = ("gen_ai.request.model", "gen_ai.response.model")
"""Current names come first. vLLM sets only the second one of `MODEL`."""

_QUEUE = ("gen_ai.latency.time_in_queue",)
_FIRST_TOKEN = ("gen_ai.latency.time_to_first_token", "gen_ai.response.time_to_first_chunk")
_INPUT = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
_OUTPUT = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
_MEASUREMENTS = (*_QUEUE, *_FIRST_TOKEN, *_INPUT, *_OUTPUT)
MEASURED = frozenset(_MEASUREMENTS)
"""A span without any of these reports no model request."""
KEYS = frozenset((*_MEASUREMENTS, *MODEL, *OPERATION))
"""Attributes that `llm_request` reads."""

_COMPOUND_OPERATIONS = ("invoke_agent", "invoke_workflow", "create_agent", "execute_tool")
"""Operations with values that are sums over the calls within them."""

_PROVIDER_NAMES = {
    "az.ai.inference": "azure.ai.inference",
    "az.ai.openai": "azure.ai.openai",
    "azure": "azure.ai.openai",
    "gemini": "gcp.gemini",
    "vertex_ai": "gcp.vertex_ai",
    "vertexai": "gcp.vertex_ai",
    "xai": "x_ai",
    "bedrock": "aws.bedrock",
    "aws_bedrock": "aws.bedrock",
}
"""Values of `gen_ai.system` (lower case) and the `gen_ai.provider.name` that replaced them."""


class LlmRequest(NamedTuple):
    """A model request as one span reports it, in seconds and tokens; None where a value is missing."""

    model: str
    queue: float | None
    first_token: float | None
    input_tokens: int | None
    output_tokens: int | None


def llm_request(attributes: Attributes) -> LlmRequest | None:
    """Return the model request that attributes describe; None if they describe none."""
    if MEASURED.isdisjoint(attributes) or first_text(map(attributes.get, OPERATION)) in _COMPOUND_OPERATIONS:
        return None
    request = LlmRequest(
        first_text(map(attributes.get, MODEL)),
        _first(map(attributes.get, _QUEUE)),
        _first(map(attributes.get, _FIRST_TOKEN)),
        _whole(_first(map(attributes.get, _INPUT))),
        _whole(_first(map(attributes.get, _OUTPUT))),
    )
    return None if request[1:] == (None,) * 4 else request


def provider_of(value: AttributeValue) -> str:
    """Return the current name of a provider; "" if the value is not a string."""
    if not isinstance(value, str):
        return ""
    name = value.strip().lower()
    return _PROVIDER_NAMES.get(name, name)


def first_text(values: Iterable[AttributeValue], longest: int = 200) -> str:
    """Return the first non-empty value as a text of at most `longest` characters; "" if there is none."""
    for value in values:
        if value is not None and value != "":
            return (value if isinstance(value, str) else str(value))[:longest]
    return ""


def _first(values: Iterable[AttributeValue]) -> float | None:
    for value in values:
        if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value >= 0:
            return value
    return None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
