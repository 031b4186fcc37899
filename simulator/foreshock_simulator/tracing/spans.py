"""Spans as services with OpenTelemetry's instrumentation make them.

A span is a tuple of what is known when it ends; ids in hex and attributes are made when somebody reads them. Attribute
names: OpenTelemetry's semantic conventions 1.40 for HTTP, databases and generative AI, and vLLM's `gen_ai.latency.*`.
"""

from __future__ import annotations

from collections.abc import Mapping
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
NOT_TRIED: Final = -4
"""What a caller has in place of an HTTP status: no answer in time, the callee ended, nobody there, the caller's own
caller gave up, or a breaker was open."""
OK: Final = 200
GONE: Final = 499
"""Nginx's status for a request whose caller has closed the connection."""

_ERRORS = {TIMED_OUT: "timeout", RESET: "connection_reset", REFUSED: "connection_refused", CANCELLED: "cancelled"}
_MASK = (1 << 64) - 1


def scramble(number: int) -> int:
    """A bijection of 64 bits without visible pattern (splitmix64: Steele, Lea, Flood, OOPSLA 2014)."""
    number = (number + 0x9E3779B97F4A7C15) & _MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & _MASK
    return number ^ (number >> 31)


class Inference(NamedTuple):
    """What a model server's span tells of a request: a model's static attributes, tokens, and seconds."""

    about: Attributes
    prompt_tokens: int
    generated_tokens: int
    queued: float | None
    first_token: float | None


class Durations:
    """Seconds of all spans of one service, kind and name that ended since somebody last took them."""

    __slots__ = ("answered", "failed", "kind", "name", "service")

    def __init__(self, service: ServiceName, kind: Kind, name: str) -> None:
        self.service, self.kind, self.name = service, kind, name
        self.answered: list[float] = []
        self.failed: list[float] = []


class Shape(NamedTuple):
    """What many spans have in common, and where they are counted."""

    durations: Durations
    attributes: Attributes
    database: bool


class SimSpan(NamedTuple):
    """A finished span. Times in seconds since the simulation's start, at `epoch_ns`; `parent` is 0 at a root.

    `code` is an HTTP status or what stands for one; `resend` counts the attempts before; `told` is what only this span
    has to tell.
    """

    trace: int
    number: int
    parent: int
    shape: Shape
    resource: Attributes
    began: float
    ended: float
    code: int
    resend: int
    told: Inference | Attributes | None
    epoch_ns: int

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits; the lower 64 bits are evenly spread, as sampling by ratio needs them."""
        return f"{scramble(~self.trace & _MASK):016x}{scramble(self.trace):016x}"

    @property
    def span_id(self) -> str:
        """16 hexadecimal digits."""
        return f"{scramble(self.number):016x}"

    @property
    def parent_id(self) -> str:
        """16 hexadecimal digits; "" at a root."""
        return f"{scramble(self.parent):016x}" if self.parent else ""

    @property
    def name(self) -> str:
        """The operation."""
        return self.shape.durations.name

    @property
    def kind(self) -> Kind:
        """The side of a call that it is, or neither."""
        return self.shape.durations.kind

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
        """OpenTelemetry's: what went well is left unset."""
        return "unset" if self.code == OK else "error"

    @property
    def status_message(self) -> str:
        """Why it failed, or ""."""
        return "" if self.code == OK else error_type(self.code, database=self.shape.database)

    @property
    def attributes(self) -> dict[str, AttributeValue]:
        """A new dictionary each time."""
        made = dict(self.shape.attributes)
        if self.kind != "internal" and self.code > 0 and not self.shape.database:
            made["http.response.status_code"] = self.code
        if self.code != OK:
            made["error.type"] = self.status_message
        if self.resend and not self.shape.database:
            made["http.request.resend_count"] = self.resend
        if isinstance(self.told, Inference):
            made |= _inference(self.told, self.ended - self.began)
        elif self.told is not None:
            made |= self.told
        return made


def error_type(status: int, *, database: bool = False) -> str:
    """The value of `error.type`."""
    if database and status == 503:
        return "too_many_connections"
    return _ERRORS.get(status, str(status))


def client_attributes(route: str, address: str, port: int) -> Attributes:
    """Of an HTTP client's span."""
    method, _, path = route.partition(" ")
    return {
        "http.request.method": method,
        "server.address": address,
        "server.port": port,
        "url.full": f"http://{address}:{port}{path}",
    }


def database_attributes(route: str, system: str, address: str, port: int) -> Attributes:
    """Of a database client's span; its operation is the first word of the route."""
    return {
        "db.system.name": system,
        "db.operation.name": route.partition(" ")[0],
        "db.query.summary": route,
        "db.namespace": address,
        "server.address": address,
        "server.port": port,
    }


def server_attributes(route: str) -> Attributes:
    """Of an HTTP server's span."""
    method, _, path = route.partition(" ")
    return {"http.request.method": method, "http.route": path, "url.path": path, "url.scheme": "http"}


def model_attributes(route: str, model: str) -> Attributes:
    """Of a model server's span: what the operation does is read from its route, as OpenAI's API names them."""
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


def resource(service: ServiceName, host_name: str, host_id: str, pid: int) -> Attributes:
    """Of a process of a service."""
    return {
        "service.name": service.name,
        "service.namespace": service.namespace,
        "service.instance.id": f"{service.name}-{host_name}-{pid}",
        "host.id": host_id,
        "host.name": host_name,
        "process.pid": pid,
    }


def _inference(told: Inference, seconds: float) -> dict[str, AttributeValue]:
    made: dict[str, AttributeValue] = {
        **told.about,
        "gen_ai.usage.input_tokens": told.prompt_tokens,
        "gen_ai.latency.e2e": seconds,
    }
    if told.generated_tokens:
        made["gen_ai.usage.output_tokens"] = told.generated_tokens
    if told.queued is not None:
        made["gen_ai.latency.time_in_queue"] = told.queued
    if told.first_token is not None:
        made["gen_ai.latency.time_to_first_token"] = told.first_token
    return made
