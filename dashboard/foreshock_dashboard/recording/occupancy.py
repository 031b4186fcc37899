"""What a simulated host's exporter tells of its shared GPUs: written for the past, pushed over OTLP from then on.

A real exporter samples ten times a second, a simulated one once; its intervals say that their resolution is a second.
"""

from __future__ import annotations

from foreshock_dashboard.model.span import EXPORTER, Span
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
    """Observes one host. Until `live`, intervals that end after `since` (Unix seconds) are kept for `take`."""

    def __init__(self, host_id: str, host_name: str, since: float) -> None:
        self.resource = {"host.id": host_id, "host.name": host_name, "foreshock.mock": "true"}
        self._since = since
        self._occupancies = OccupancyTracker(host_join_keys)
        self._ended: list[Occupancy] = []
        self._push: OtlpPusher | None = None

    def observe(self, observation: Observation) -> None:
        """As the exporter's `observe`."""
        if self._push is not None:
            self._push.observe(observation)
        elif observation.end > self._since:
            self._ended += self._occupancies.observe(observation)

    def take(self, *, last: bool = False) -> list[Span]:
        """The spans of what has ended since the last call; with `last`, of what is open too."""
        if last:
            self._ended += self._occupancies.settle(float("inf"))
        ended, self._ended = self._ended, []
        return [self._span(each) for each in ended]

    def live(self, push: OtlpPusher) -> None:
        """Hand what is observed from now on to the push of a real exporter."""
        self._push = push

    def _span(self, occupancy: Occupancy) -> Span:
        said = attributes(occupancy)
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
            resource={**self.resource, "service.name": EXPORTER},
            attributes={name: list(value) if isinstance(value, tuple) else value for name, value in said.items()},
        )
