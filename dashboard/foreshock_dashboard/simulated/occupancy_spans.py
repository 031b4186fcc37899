"""Occupancy spans of a simulated host's GPUs: collected for the recorded time, pushed over OTLP afterwards.

Their resolution is one second: a simulated exporter samples once per second, a real one ten times.
"""

from __future__ import annotations

from foreshock_dashboard.model.span import EXPORTER_NAME, Span
from foreshock_exporter.attribution.container import host_join_keys
from foreshock_exporter.gpu.occupancy import (
    SPAN_NAME,
    Observation,
    Occupancy,
    OccupancyTracker,
    attributes,
    span_id,
    trace_id,
)
from foreshock_exporter.otlp.pusher import OtlpPusher


class OccupancySpans:
    """Observes one host. Until `start_push`, intervals that end after `since` (Unix seconds) are kept for `take`."""

    def __init__(self, host_id: str, host_name: str, since: float) -> None:
        self.resource = {"host.id": host_id, "host.name": host_name, "foreshock.mock": "true"}
        self._since = since
        self._tracker = OccupancyTracker(host_join_keys)
        self._ended: list[Occupancy] = []
        self._push: OtlpPusher | None = None

    def observe(self, observation: Observation) -> None:
        """Receive an observation of the exporter."""
        if self._push is not None:
            self._push.observe(observation)
        elif observation.end > self._since:
            self._ended += self._tracker.observe(observation)

    def take(self, *, last: bool = False) -> list[Span]:
        """Return the spans of the intervals ended since the last call; with `last`, of open intervals too."""
        if last:
            self._ended += self._tracker.settle(float("inf"))
        ended, self._ended = self._ended, []
        return [self._span(occupancy) for occupancy in ended]

    def start_push(self, push: OtlpPusher) -> None:
        """Pass later observations to the pusher of a real exporter."""
        self._push = push

    def _span(self, occupancy: Occupancy) -> Span:
        values = attributes(occupancy)
        return Span(
            trace_id=f"{trace_id(occupancy.uuid, occupancy.start):032x}",
            span_id=f"{span_id(occupancy):016x}",
            parent_id="",
            name=SPAN_NAME,
            kind="internal",
            start_ns=round(occupancy.start * 1e9),
            end_ns=round(occupancy.end * 1e9),
            status="unset",
            status_message="",
            resource={**self.resource, "service.name": EXPORTER_NAME},
            attributes={name: list(value) if isinstance(value, tuple) else value for name, value in values.items()},
        )
