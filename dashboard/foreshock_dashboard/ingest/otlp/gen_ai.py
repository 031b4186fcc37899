"""What spans of calls to models tell: who serves which model, how long a request queued, and its tokens.

Attribute names: OpenTelemetry's semantic conventions for generative AI (`gen_ai.*`, also by their former names),
and vLLM's `llm_request` span, whose `gen_ai.latency.*` SGLang and TensorRT-LLM give as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import NamedTuple

from foreshock_dashboard.model.span import Attributes, AttributeValue

PROVIDER = ("gen_ai.provider.name", "gen_ai.system")
OPERATION = ("gen_ai.operation.name", "llm.request.type")
MODEL = ("gen_ai.request.model", "gen_ai.response.model")
"""The newest name first; vLLM gives the second of `MODEL` only."""

_QUEUE = ("gen_ai.latency.time_in_queue",)
_FIRST_TOKEN = ("gen_ai.latency.time_to_first_token", "gen_ai.response.time_to_first_chunk")
_INPUT = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens")
_OUTPUT = ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens")
_TOLD = (*_QUEUE, *_FIRST_TOKEN, *_INPUT, *_OUTPUT)
MEASURED = frozenset(_TOLD)
"""A span without any of these tells of no request to a model."""
KEYS = frozenset((*_TOLD, *MODEL, *OPERATION))
"""What `request_of` looks at."""

_OF_MANY = ("invoke_agent", "invoke_workflow", "create_agent", "execute_tool")
"""Operations that sum up what the calls within them have told already."""

_RENAMED = {
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
"""Values of `gen_ai.system` that `gen_ai.provider.name` writes otherwise (lower case)."""


class Request(NamedTuple):
    """What one span tells of one request to a model; None where it does not tell. Seconds and counts of tokens."""

    model: str
    queue: float | None
    first_token: float | None
    input_tokens: int | None
    output_tokens: int | None


def request_of(found: Attributes) -> Request | None:
    """What a span's attributes tell of a request to a model; None where they tell nothing."""
    if MEASURED.isdisjoint(found) or first_text(map(found.get, OPERATION)) in _OF_MANY:
        return None
    request = Request(
        first_text(map(found.get, MODEL)),
        _first(map(found.get, _QUEUE)),
        _first(map(found.get, _FIRST_TOKEN)),
        _whole(_first(map(found.get, _INPUT))),
        _whole(_first(map(found.get, _OUTPUT))),
    )
    return None if request[1:] == (None,) * 4 else request


def provider_of(value: AttributeValue) -> str:
    """A provider by the name that the conventions have for it now; "" for what is none."""
    if not isinstance(value, str):
        return ""
    name = value.strip().lower()
    return _RENAMED.get(name, name)


def process_pid(resource: Attributes) -> int | None:
    """The process that a span's resource names, by its pid within its own namespace.

    `process.pid`, or else vLLM's `vllm.process_id`, which is a text.
    """
    for key in ("process.pid", "vllm.process_id"):
        value = resource.get(key)
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value[:20])
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def first_text(values: Iterable[AttributeValue], longest: int = 200) -> str:
    """The first that says anything, as a text that is cut off; "" where none does."""
    for value in values:
        if value is not None and value != "":
            return (value if isinstance(value, str) else str(value))[:longest]
    return ""


def _first(values: Iterable[AttributeValue]) -> float | None:
    """The first that is a number that a duration or a count can be."""
    for value in values:
        if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value >= 0:
            return value
    return None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
