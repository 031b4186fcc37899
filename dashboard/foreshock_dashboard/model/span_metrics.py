"""Spans turned into the standard metrics of the service graph and of each operation."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

from foreshock_dashboard.model.registry import Family, Registry
from foreshock_dashboard.model.samples import Labels, Sample, labels_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.service_graph import Increment, ServiceGraph
from foreshock_dashboard.model.span import Attributes, Kind, Span, Status

MAX_NAMES = 200
"""Span names that each service may have in metrics; further ones are counted together as `OTHER_NAME`."""
OTHER_NAME = "(other)"
MAX_SERVICES = 10_000
"""Services whose span names are remembered."""
MAX_LENGTH = 200
"""Characters of a label's value; the rest is cut off."""
MAX_SEEN = 2_000_000
"""Spans remembered, about 150 bytes each, to tell those that come again."""
MAX_LABELS = 20_000
"""Label sets kept ready for use, of each kind."""

REQUESTS = Family("traces_service_graph_request_total", "counter", "Requests between two services.")
FAILED = Family("traces_service_graph_request_failed_total", "counter", "Requests between two services that failed.")
CLIENT_SECONDS = Family(
    "traces_service_graph_request_client_seconds", "histogram", "Seconds of a request as its client saw it."
)
SERVER_SECONDS = Family(
    "traces_service_graph_request_server_seconds", "histogram", "Seconds of a request as its server saw it."
)
RETRIES = Family("foreshock_retry_attempts_total", "counter", "Requests that repeat a failed one.")
CALLS = Family("traces_span_metrics_calls_total", "counter", "Spans of each operation.")
DURATION = Family("traces_span_metrics_duration_seconds", "histogram", "Seconds that each operation's spans took.")
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
OVERFLOW = Family(
    "foreshock_span_metrics_overflow_total", "counter", "Counts left out because there were too many series."
)

_KINDS = {
    "server": "SPAN_KIND_SERVER",
    "client": "SPAN_KIND_CLIENT",
    "producer": "SPAN_KIND_PRODUCER",
    "consumer": "SPAN_KIND_CONSUMER",
}
_STATUSES = {"unset": "STATUS_CODE_UNSET", "ok": "STATUS_CODE_OK", "error": "STATUS_CODE_ERROR"}
_SLOT_NS = 10_000_000_000


class SpanMetrics:
    """Counts spans, and pairs them within `ttl` seconds. Not for several threads at once.

    patience: seconds for which a call waits whose answer is likely to come later (see `ServiceGraph`).
    slack: seconds. A span that ended longer ago, or ends later than that from now, counts as late
        (`foreshock_spans_late_total`) or early and nowhere else, so that it cannot distort what is current. Within it,
        a span that comes again is not counted again.
    max_items, max_series: how many span ids may wait for their other half, and how many series there may be.
    stale_after: seconds after which a series that nothing was added to ends.

    zero_for: seconds for which `text` shows a new series as 0.

    A new series is shown as 0 by the first `collect`, and with its value from the next one on, so that `rate` sees its
    first increment. `text` cannot tell its readers apart: it shows 0 until `zero_for` seconds after it first showed the
    series, so that everybody who reads at least that often has seen the 0.
    """

    def __init__(
        self,
        *,
        ttl: float = 10.0,
        patience: float = 120.0,
        slack: float = 30.0,
        max_items: int = 200_000,
        max_series: int = 100_000,
        stale_after: float = 900.0,
        zero_for: float = 60.0,
    ) -> None:
        self._slack = slack
        self._zero_for = zero_for
        self._graph = ServiceGraph(ttl, max_items, patience)
        self._registry = Registry(max_series, stale_after)
        self._own = Registry(len(_OWN), math.inf)
        self._seen = _Seen(slack)
        self._names: dict[Service, set[str]] = {}
        for family in _OWN:
            self._own.add(family, (), 0.0, 0.0)

    def add(self, spans: Sequence[Span], now: float) -> None:
        """Count spans that arrived at `now` (Unix seconds)."""
        resource: Attributes | None = None
        service = Service("", "")
        for span in spans:
            if span.kind == "internal" or span.occupancy:
                continue
            if span.resource is not resource:
                resource, service = span.resource, span.service
            if self._counts(span, now):
                self._operation(span, service, now)
                self._graph.add(span, service, now)
        self._settle(now)

    def collect(self, now: float) -> tuple[Sample, ...]:
        """All series as they stand at `now`; those that ended are left out."""
        return tuple(sample for _, samples in self._read("collect", now, 0.0) for sample in samples)

    def text(self, now: float) -> str:
        """The same in the Prometheus text format 0.0.4."""
        blocks: dict[Family, list[str]] = {}
        for family, samples in self._read("text", now, self._zero_for):
            blocks.setdefault(family, []).extend(_line(sample) for sample in samples)
        return "".join(
            f"# HELP {family.name} {family.help}\n# TYPE {family.name} {family.type}\n" + "".join(lines)
            for family, lines in sorted(blocks.items())
        )

    def _counts(self, span: Span, now: float) -> bool:
        end = span.end_ns / 1e9
        if end < now - self._slack:
            self._note(LATE, now)
        elif end > now + self._slack:
            self._note(EARLY, now)
        elif not self._seen.add(span):
            self._note(DUPLICATE, now)
        else:
            if span.clamped:
                self._note(CLAMPED, now)
            return True
        return False

    def _operation(self, span: Span, service: Service, now: float) -> None:
        labels = _of_operation(service, self._name(service, span.name), span.kind, span.status)
        self._registry.add(CALLS, labels, 1.0, now)
        self._registry.observe(DURATION, labels, span.duration_ns / 1e9, now)

    def _name(self, service: Service, name: str) -> str:
        if service not in self._names and len(self._names) >= MAX_SERVICES:
            self._names.clear()
        names = self._names.setdefault(service, set())
        if name not in names:
            if len(names) >= MAX_NAMES:
                return OTHER_NAME
            names.add(name)
        return name

    def _settle(self, now: float) -> None:
        self._graph.expire(now)
        found = self._graph.take()
        for increment in found.increments:
            self._edge(increment, now)
        for alone in found.unpaired:
            self._registry.add(UNPAIRED, _of_half(alone.service, alone.kind), 1.0, now)
        self._own.add(DROPPED, (), found.dropped, now)
        self._own.add(OVERFLOW, (), self._registry.take_overflow(), now)

    def _edge(self, increment: Increment, now: float) -> None:
        client, server, connection = increment.edge
        labels = _between(client, server, connection)
        self._registry.add(REQUESTS, labels, increment.requests, now)
        self._registry.add(FAILED, labels, increment.failed, now)
        if increment.client_seconds is not None:
            self._registry.observe(CLIENT_SECONDS, labels, increment.client_seconds, now)
        if increment.server_seconds is not None:
            self._registry.observe(SERVER_SECONDS, labels, increment.server_seconds, now)
        self._registry.add(RETRIES, _between(client, server, ""), increment.retries, now)

    def _note(self, family: Family, now: float) -> None:
        self._own.add(family, (), 1.0, now)

    def _read(self, reader: str, now: float, zero_for: float) -> Iterable[tuple[Family, list[Sample]]]:
        self._settle(now)
        self._seen.forget(now)
        self._registry.expire(now)
        yield from self._registry.read(reader, now, zero_for)
        yield from self._own.read(reader, now, zero_for)


_OWN = (LATE, EARLY, DUPLICATE, CLAMPED, DROPPED, OVERFLOW)


class _Seen:
    """The spans that were counted, as long as one that comes again would not be late anyway, and `limit` at most.

    A span that comes again ends when it did before, so it is looked for only among those that ended in its ten seconds.
    """

    def __init__(self, slack: float, limit: int = MAX_SEEN) -> None:
        self._slack = slack
        self._limit = limit
        self._size = 0
        self._slots: dict[int, set[str]] = {}

    def add(self, span: Span) -> bool:
        """Remember a span; False where it was seen before."""
        slot = self._slots.setdefault(span.end_ns // _SLOT_NS, set())
        key = f"{span.trace_id}{span.span_id}{span.kind}"
        if key in slot:
            return False
        slot.add(key)
        self._size += 1
        if self._size > self._limit:
            self._drop(min(self._slots))
        return True

    def forget(self, now: float) -> None:
        """Drop the slots whose spans would be late by now."""
        last = (now - self._slack) * 1e9
        for slot in [slot for slot in self._slots if (slot + 1) * _SLOT_NS < last]:
            self._drop(slot)

    def _drop(self, slot: int) -> None:
        self._size -= len(self._slots.pop(slot))


@lru_cache(MAX_LABELS)
def _of_operation(service: Service, name: str, kind: Kind, status: Status) -> Labels:
    return _labels(
        service_name=service.name,
        service_namespace=service.namespace,
        span_name=name,
        span_kind=_KINDS[kind],
        status_code=_STATUSES[status],
    )


@lru_cache(MAX_LABELS)
def _of_half(service: Service, kind: Kind) -> Labels:
    return _labels(service_name=service.name, service_namespace=service.namespace, span_kind=_KINDS[kind])


@lru_cache(MAX_LABELS)
def _between(client: Service, server: Service, connection: str) -> Labels:
    return _labels(
        client=client.name,
        client_service_namespace=client.namespace,
        server=server.name,
        server_service_namespace=server.namespace,
        connection_type=connection,
    )


def _labels(**pairs: str) -> Labels:
    return labels_of({name: value[:MAX_LENGTH] for name, value in pairs.items()})


def _line(sample: Sample) -> str:
    pairs = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels)
    return f"{sample.metric}{{{pairs}}} {sample.value!r}\n" if pairs else f"{sample.metric} {sample.value!r}\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
