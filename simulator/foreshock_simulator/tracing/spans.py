"""Spans as services with OpenTelemetry instrumentation emit them.

A span is a tuple of the values at its end; hexadecimal ids and attributes are computed on access. Attribute names
follow OpenTelemetry's semantic conventions 1.40 for HTTP, databases and generative AI, and vLLM's `gen_ai.latency.*`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from foreshock_simulator.core.names import ServiceName

AttributeValue = str | int | float | bool
Attributes = Mapping[str, AttributeValue]
Kind = Literal["client", "server", "internal"]
Status = Literal["unset", "error"]

TIMED_OUT: Final = 0
RESET: Final = -1
REFUSED: Final = -2
CANCELLED: Final = -3
BREAKER_OPEN: Final = -4
"""Results of a call without an HTTP status: no answer before the deadline, the callee ended, no ready replica,
cancelled by the caller of the caller, circuit breaker open."""
OK: Final = 200
CLIENT_CLOSED: Final = 499
"""Nginx's status for a request after the client closed the connection."""

_ERRORS = {TIMED_OUT: "timeout", RESET: "connection_reset", REFUSED: "connection_refused", CANCELLED: "cancelled"}
_MASK = (1 << 64) - 1


def scramble(number: int) -> int:
    """A bijection of 64-bit numbers without visible pattern (splitmix64: Steele, Lea, Flood, OOPSLA 2014)."""
    number = (number + 0x9E3779B97F4A7C15) & _MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _MASK
    return number ^ (number >> 31)


class Inference(NamedTuple):
    """A served model request: static attributes of the model, tokens, and seconds in the queue and to first token."""

    model: Attributes
    prompt_tokens: int
    generated_tokens: int
    queued: float | None
    first_token: float | None


@dataclass(slots=True, eq=False)
class Durations:
    """Seconds of all spans of one service, kind and name since a reader last took the lists."""

    service: ServiceName
    kind: Kind
    name: str
    answered: list[float] = field(default_factory=list)
    failed: list[float] = field(default_factory=list)


class SpanTemplate(NamedTuple):
    """The part that many spans have in common, and the durations that they are counted in."""

    durations: Durations
    attributes: Attributes
    database: bool


class SimSpan(NamedTuple):
    """A finished span. Times are seconds since the start of the simulation at `epoch_ns`.

    `parent` is 0 in a root span. `code` is an HTTP status or one of the results without a status. `resend` counts
    earlier attempts. `own` holds the attributes of this span alone.
    """

    trace: int
    number: int
    parent: int
    template: SpanTemplate
    resource: Attributes
    began: float
    ended: float
    code: int
    resend: int
    own: Inference | Attributes | None
    epoch_ns: int

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits; the lower 64 bits are uniform, as ratio sampling needs them."""
        return f"{scramble(~self.trace & _MASK):016x}{scramble(self.trace):016x}"

    @property
    def span_id(self) -> str:
        """16 hexadecimal digits."""
        return f"{scramble(self.number):016x}"

    @property
    def parent_id(self) -> str:
        """16 hexadecimal digits; "" in a root span."""
        return f"{scramble(self.parent):016x}" if self.parent else ""

    @property
    def name(self) -> str:
        """The name of the operation."""
        return self.template.durations.name

    @property
    def kind(self) -> Kind:
        """Client or server side of a call, or internal."""
        return self.template.durations.kind

    @property
    def start_ns(self) -> int:
        """Unix nanoseconds."""
        return self.epoch_ns + int(self.began * 1e9)

    @property
    def end_ns(self) -> int:
        """Unix nanoseconds."""
        return self.epoch_ns + int(self.ended * 1e9)

    @property
    def status(self) -> Status:
        """OpenTelemetry status; unset for a success."""
        return "unset" if self.code == OK else "error"

    @property
    def status_message(self) -> str:
        """The error type; "" for a success."""
        return "" if self.code == OK else error_type(self.code, database=self.template.database)

    @property
    def attributes(self) -> dict[str, AttributeValue]:
        """All attributes, as a new dictionary."""
        attributes = dict(self.template.attributes)
        if self.kind != "internal" and self.code > 0 and not self.template.database:
            attributes["http.response.status_code"] = self.code
        if self.code != OK:
            attributes["error.type"] = self.status_message
        if self.resend and not self.template.database:
            attributes["http.request.resend_count"] = self.resend
        if isinstance(self.own, Inference):
            attributes |= _inference_attributes(self.own, self.ended - self.began)
        elif self.own is not None:
            attributes |= self.own
        return attributes


def error_type(status: int, *, database: bool = False) -> str:
    """Value of `error.type` for a failed span."""
    if database and status == 503:
        return "too_many_connections"
    return _ERRORS.get(status, str(status))


def client_attributes(route: str, address: str, port: int) -> Attributes:
    """Attributes of an HTTP CLIENT span."""
    method, _, path = route.partition(" ")
    return {
        "http.request.method": method,
        "server.address": address,
        "server.port": port,
        "url.full": f"http://{address}:{port}{path}",
    }


def database_attributes(route: str, system: str, address: str, port: int) -> Attributes:
    """Attributes of a database CLIENT span; the operation is the first word of the route."""
    return {
        "db.system.name": system,
        "db.operation.name": route.partition(" ")[0],
        "db.query.summary": route,
        "db.namespace": address,
        "server.address": address,
        "server.port": port,
    }


def server_attributes(route: str) -> Attributes:
    """Attributes of an HTTP SERVER span."""
    method, _, path = route.partition(" ")
    return {"http.request.method": method, "http.route": path, "url.path": path, "url.scheme": "http"}


def model_attributes(route: str, model: str) -> Attributes:
    """Attributes of a model server's span. The operation name follows from the route, which is one of OpenAI's API."""
    operation = "generate_content"
    for part, name in (("embed", "embeddings"), ("chat", "chat"), ("completions", "text_completion")):
        if part in route:
            operation = name
            break
    return {
        "gen_ai.operation.name": operation,
        "gen_ai.request.model": model,
        "gen_ai.response.model": model,
    }


def resource_attributes(service: ServiceName, version: str, host_name: str, host_id: str, pid: int) -> Attributes:
    """Resource attributes of a process of a service. A version "" is unknown."""
    return {
        "service.name": service.name,
        "service.namespace": service.namespace,
        **({"service.version": version} if version else {}),
        "service.instance.id": f"{service.name}-{host_name}-{pid}",
        "host.id": host_id,
        "host.name": host_name,
        "process.pid": pid,
    }


def _inference_attributes(inference: Inference, seconds: float) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        **inference.model,
        "gen_ai.usage.input_tokens": inference.prompt_tokens,
        "gen_ai.latency.e2e": seconds,
    }
    if inference.generated_tokens:
        attributes["gen_ai.usage.output_tokens"] = inference.generated_tokens
    if inference.queued is not None:
        attributes["gen_ai.latency.time_in_queue"] = inference.queued
    if inference.first_token is not None:
        attributes["gen_ai.latency.time_to_first_token"] = inference.first_token
    return attributes
