"""A server that answers as Jaeger's API of version 3 does, from spans that it was given."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from google.protobuf.json_format import MessageToDict
from tests.sources.traces.tempo_double import Reply, request_of

from foreshock_dashboard.model.span import AttributeValue, Span

UNITS = {"ns": 1, "us": 1000, "ms": 10**6, "s": 10**9}
NONE = b'{"error":{"httpCode":404,"message":"No traces found"}}\n'


def camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda found: found[1].upper(), name)


@dataclass
class JaegerDouble:
    """Jaeger; `new` reads `query.serviceName` and attributes, else `query.service_name` and none (to 2.20)."""

    new: bool = True
    spans: list[Span] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    instead: Reply | None = None
    """Given in place of every answer."""

    def answer(self, target: str, _: object) -> Reply:
        """What it answers to a GET."""
        parts = urlsplit(target)
        given = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        self.asked.append((parts.path, given))
        if self.instead:
            return self.instead
        match parts.path.split("/")[1:]:
            case ["api", "v3", "services"]:
                return _json({"services": sorted({str(span.resource["service.name"]) for span in self.spans})})
            case ["api", "v3", "traces"]:
                return self._find({name.removeprefix("query."): value for name, value in given.items()})
            case ["api", "v3", "traces", trace_id]:
                return _traces([span for span in self.spans if span.trace_id == trace_id])
        return Reply(404, b"404 page not found\n", "text/plain; charset=utf-8")

    def _find(self, given: dict[str, str]) -> Reply:
        known = {camel(name): value for name, value in given.items() if ("_" not in name if self.new else True)}
        if not self.new:
            known = {camel(name): value for name, value in given.items() if name == name.lower()}
            known.pop("attributes", None)
        if "startTimeMin" not in known or "startTimeMax" not in known:
            return Reply(400, b'{"error":{"message":"start_time_min and start_time_max are required"}}')
        test = _test(known)
        traces: dict[str, list[Span]] = {}
        for span in self.spans:
            traces.setdefault(span.trace_id, []).append(span)
        fitting = [spans for spans in traces.values() if any(map(test, spans))]
        fitting.sort(key=lambda spans: -min(span.start_ns for span in spans))
        return _traces(span for spans in fitting[: int(known.get("searchDepth", "100"))] for span in spans)


def _test(known: dict[str, str]) -> Callable[[Span], bool]:
    first, last = _nanoseconds(known["startTimeMin"]), _nanoseconds(known["startTimeMax"])
    least, most = _duration(known.get("durationMin", "0s")), _duration(known.get("durationMax", "1000000s"))
    wanted = json.loads(known.get("attributes", "{}"))

    def test(span: Span) -> bool:
        return (
            span.resource["service.name"] == known["serviceName"]
            and known.get("operationName") in (None, span.name)
            and first <= span.start_ns <= last
            and least <= span.duration_ns <= most
            and all(value in (_text(span.attributes.get(key)), _text(span.resource.get(key)))
                    for key, value in wanted.items())
        )  # fmt: skip

    return test


def _text(value: AttributeValue) -> str | None:
    return None if value is None else json.dumps(value) if not isinstance(value, str) else value


def _duration(text: str) -> int:
    match = re.fullmatch(r"(\d+)(ns|us|ms|s)", text)
    assert match, text
    return int(match[1]) * UNITS[match[2]]


def _nanoseconds(text: str) -> int:
    whole, _, rest = text.removesuffix("Z").partition(".")
    return round(datetime.fromisoformat(f"{whole}+00:00").timestamp()) * 10**9 + int(rest or "0")


def _traces(spans: Iterable[Span]) -> Reply:
    found = list(spans)
    if not found:
        return Reply(404, NONE, "text/plain; charset=utf-8")
    result = _hex(MessageToDict(request_of(found), use_integers_for_enums=True))
    return _json({"result": result})


def _hex(value: Any, key: str = "") -> Any:  # noqa: ANN401 - JSON
    """OTLP's JSON has hex ids, protobuf's has base64."""
    if isinstance(value, dict):
        return {name: _hex(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_hex(item) for item in value]
    return base64.b64decode(value).hex() if key in ("traceId", "spanId", "parentSpanId") else value


def _json(body: Any) -> Reply:  # noqa: ANN401 - JSON
    return Reply(body=json.dumps(body).encode())
