"""The spans of the simulation arrive unchanged over OTLP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import pytest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from foreshock_simulator.emitter import Emitter, SpanSender
from foreshock_simulator.scenarios.load import load
from foreshock_simulator.simulation import Simulation
from foreshock_simulator.tracing.spans import AttributeValue, SimSpan

pytestmark = pytest.mark.slow

START = 1_800_000_000.0
KINDS = {
    WireSpan.SPAN_KIND_CLIENT: "client",
    WireSpan.SPAN_KIND_SERVER: "server",
    WireSpan.SPAN_KIND_INTERNAL: "internal",
}


class ReceivedSpan(NamedTuple):
    """A span in OpenTelemetry's terms."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: str
    start_ns: int
    end_ns: int
    status: str
    status_message: str
    resource: Mapping[str, AttributeValue]
    attributes: Mapping[str, AttributeValue]


def of(span: SimSpan) -> ReceivedSpan:
    return ReceivedSpan(*(getattr(span, name) for name in ReceivedSpan._fields))


def simulation(scenario: str, seed: int) -> Simulation:
    return Simulation(load(scenario, "demo"), seed, START)


class SteppingClock:
    """A clock that advances by a second at each reading; `speed` is its stated speed."""

    def __init__(self, start: float, speed: float = 100.0) -> None:
        self.time, self.speed = start, speed

    def now(self) -> float:
        self.time += 1.0
        return self.time

    def wall_seconds(self, seconds: float) -> float:
        return seconds / self.speed


def attributes(pairs: Any) -> dict[str, AttributeValue]:  # noqa: ANN401 - protobuf's repeated field
    return dict(map(pair_of, pairs))


def pair_of(pair: KeyValue) -> tuple[str, AttributeValue]:
    which = pair.value.WhichOneof("value")
    assert which in ("string_value", "int_value", "double_value", "bool_value")
    return pair.key, getattr(pair.value, which)


def arrived(receiver: Any) -> Iterator[ReceivedSpan]:  # noqa: ANN401 - the fixture's class is the conftest's
    for request in receiver.requests:
        for group in request.resource_spans:
            resource = attributes(group.resource.attributes)
            for scope in group.scope_spans:
                for span in scope.spans:
                    yield ReceivedSpan(
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        span.name,
                        KINDS[span.kind],
                        span.start_time_unix_nano,
                        span.end_time_unix_nano,
                        "error" if span.status.code == Status.STATUS_CODE_ERROR else "unset",
                        span.status.message,
                        resource,
                        attributes(span.attributes),
                    )


def in_order(spans: Iterable[ReceivedSpan]) -> list[ReceivedSpan]:
    return sorted(spans, key=lambda span: span.span_id)


def test_spans_arrive_unchanged(receiver: Any) -> None:  # noqa: ANN401
    """Ids, parents, times, kinds, statuses, resources and attributes are equal after transport."""
    sent = simulation("starve", 1).advance(START + 90)
    sender = SpanSender(receiver.endpoint)
    for span in sent:
        sender.send(span)
    sender.close()
    got = in_order(arrived(receiver))
    assert got == in_order(map(of, sent))
    assert {"client", "server", "internal"} == {span.kind for span in got}


def test_an_emitter_keeps_up_with_its_clock_and_loses_nothing(receiver: Any, eventually: Any) -> None:  # noqa: ANN401
    """Each step sends the spans finished since the last. After closing, all have arrived once."""
    running, clock = simulation("calm", 2), SteppingClock(START)
    emitter = Emitter(running, clock, receiver.endpoint, period=0.01)
    emitter.start()
    eventually(lambda: receiver.count > 200, "200 spans arrive while the emitter runs")
    emitter.close()
    assert receiver.count == emitter.sent
    assert in_order(arrived(receiver)) == in_order(map(of, simulation("calm", 2).advance(running.now)))


def test_devices_are_read_at_the_clocks_time_while_an_emitter_runs(receiver: Any) -> None:  # noqa: ANN401
    """A reading between two steps is at the present time. After closing, the simulation stops."""
    running, clock = simulation("calm", 2), SteppingClock(START, speed=1e-4)
    emitter = Emitter(running, clock, receiver.endpoint, period=3600.0)
    emitter.start()
    driver = running.hosts[0].driver
    times = [max(sample.timestamp_us for sample in driver.process_utilization(0, 0)) for _ in range(10)]
    emitter.close()
    assert times == [int((START + second) * 1e6) for second in range(1, 11)]
    assert driver.process_utilization(0, times[-1]) == []


def test_each_service_instance_sends_under_its_own_resource(receiver: Any) -> None:  # noqa: ANN401
    """Replicas differ in service.instance.id, host and pid."""
    sender = SpanSender(receiver.endpoint + "/v1/traces")
    for span in simulation("calm", 3).advance(START + 30):
        sender.send(span)
    sender.close()
    places = {
        (span.resource["service.instance.id"], span.resource["host.id"], span.resource["process.pid"])
        for span in arrived(receiver)
    }
    assert len(places) > 20
    assert max(Counter(instance for instance, _, _ in places).values()) == 1


def test_a_busy_receiver_does_not_keep_a_sender_from_closing(receiver: Any) -> None:  # noqa: ANN401
    """Spans that it refuses are sent again, but only until the sender aborts."""
    receiver.status = 503
    sender = SpanSender(receiver.endpoint)
    for span in simulation("calm", 1).advance(START + 30)[:100]:
        sender.send(span)
    sender.abort_after(0.05)
    sender.close()
    assert len(receiver.requests) == 1


def test_closing_an_emitter_that_never_started_is_no_error(receiver: Any) -> None:  # noqa: ANN401
    """A demo that fails early can still clean up."""
    Emitter(simulation("calm", 1), SteppingClock(START), receiver.endpoint).close()
