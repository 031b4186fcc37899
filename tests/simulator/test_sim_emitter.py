"""What the simulation says it did is what arrives over OTLP."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from foreshock_simulator.emitter import Emitter, SpanSender
from foreshock_simulator.scenarios.load import load
from foreshock_simulator.simulation import Simulation
from foreshock_simulator.tracing.spans import AttributeValue, SimSpan

START = 1_800_000_000.0
KINDS = {
    WireSpan.SPAN_KIND_CLIENT: "client",
    WireSpan.SPAN_KIND_SERVER: "server",
    WireSpan.SPAN_KIND_INTERNAL: "internal",
}


class Seen(NamedTuple):
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


def of(span: SimSpan) -> Seen:
    return Seen(*(getattr(span, name) for name in Seen._fields))


def simulation(scenario: str, seed: int) -> Simulation:
    return Simulation(load(scenario, "demo"), seed, START)


class Steps:
    """A clock that goes on by a second each time it is looked at; `speed` is what it says of itself."""

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


def arrived(receiver: Any) -> Iterator[Seen]:  # noqa: ANN401 - the fixture's class is the conftest's
    for request in receiver.requests:
        for group in request.resource_spans:
            resource = attributes(group.resource.attributes)
            for scope in group.scope_spans:
                for span in scope.spans:
                    yield Seen(
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


def in_order(spans: Iterable[Seen]) -> list[Seen]:
    return sorted(spans, key=lambda span: span.span_id)


def test_spans_arrive_as_they_were(receiver: Any) -> None:  # noqa: ANN401
    """Ids, parents, times, kinds, statuses, resources and attributes are equal on the other side of the wire."""
    sent = simulation("starve", 1).advance(START + 90)
    sender = SpanSender(receiver.endpoint)
    for span in sent:
        sender.send(span)
    sender.close()
    got = in_order(arrived(receiver))
    assert got == in_order(map(of, sent))
    assert {"client", "server", "internal"} == {span.kind for span in got}


def test_an_emitter_keeps_up_with_its_clock_and_loses_nothing(receiver: Any, eventually: Any) -> None:  # noqa: ANN401
    """Each step sends what finished since the last; after closing, everything has arrived once."""
    running, clock = simulation("calm", 2), Steps(START)
    emitter = Emitter(running, clock, receiver.endpoint, period=0.01)
    emitter.start()
    eventually(lambda: receiver.count > 200, "200 spans arrive while the emitter runs")
    emitter.close()
    assert receiver.count == emitter.sent
    assert in_order(arrived(receiver)) == in_order(map(of, simulation("calm", 2).advance(running.now)))


def test_devices_stand_at_the_clock_while_an_emitter_runs(receiver: Any) -> None:  # noqa: ANN401
    """A reading between two steps is of now, not of the last step; afterwards the simulation stands still."""
    running, clock = simulation("calm", 2), Steps(START, speed=1e-4)
    emitter = Emitter(running, clock, receiver.endpoint, period=3600.0)
    emitter.start()
    driver = running.hosts[0].driver
    times = [max(sample.timestamp_us for sample in driver.process_utilization(0, 0)) for _ in range(10)]
    emitter.close()
    assert times == [int((START + second) * 1e6) for second in range(1, 11)]
    assert driver.process_utilization(0, times[-1]) == []


def test_each_service_instance_sends_under_its_own_resource(receiver: Any) -> None:  # noqa: ANN401
    """Every replica is told apart by service.instance.id, on the host and with the pid where it runs."""
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


def test_closing_an_emitter_that_never_started_is_no_error(receiver: Any) -> None:  # noqa: ANN401
    """A demo that fails early can still clean up."""
    Emitter(simulation("calm", 1), Steps(START), receiver.endpoint).close()
