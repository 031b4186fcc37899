"""The view of a hub: its newest evaluation, its sources, and what it answers on request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.cost.ledger import CostLedger
from foreshock_dashboard.model.cost.prices import Prices
from foreshock_dashboard.model.explanation import Explanation
from foreshock_dashboard.model.journal import EntryLog
from foreshock_dashboard.model.query import MetricSource
from foreshock_dashboard.model.service import Ownership, Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.span import TraceSource
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.model.world import World


class HubView(Protocol):
    """Everything the web may see of the hub."""

    @property
    def cluster(self) -> str:
        """The only cluster that it shows; "" for all."""

    @property
    def snapshot(self) -> Snapshot:
        """The newest evaluation."""

    @property
    def capacity(self) -> CapacityForecast:
        """The newest forecast of hours and days; an empty one before the first."""

    @property
    def cost(self) -> CostLedger:
        """The ledger of GPU time; empty before the first read."""

    @property
    def prices(self) -> Prices:
        """Prices of GPU-hours."""

    @property
    def metrics(self) -> MetricSource:
        """Source of samples."""

    @property
    def traces(self) -> TraceSource:
        """Source of traces."""

    @property
    def remote_traces(self) -> str:
        """The kind of trace store behind `traces` whose searches may take long, such as "Tempo"; "" for local ones."""

    @property
    def journal(self) -> EntryLog:
        """What people and systems said and did."""

    def silenced_until(self) -> Mapping[str, float | None]:
        """Ends (Unix seconds) of Alertmanager's silences by incident, as of its last answer; None: it inhibits it."""

    def at(self, time: float) -> Snapshot:
        """Snapshot of an earlier instant (Unix seconds), live or recomputed; may take seconds.

        Raises:
            SourceError: the source cannot answer, or holds nothing so early.
        """

    def over(self, start: float, end: float) -> World | None:
        """World of a time range, for charts: on a coarser grid where the range is long; None without data.

        Raises:
            SourceError: the source cannot answer.
        """

    def explain(self, service: str | None, at: float, cluster: str = "") -> Explanation:
        """The ranked root causes of a service's anomaly around `at` (Unix seconds); None: of any service's.

        cluster: that of the service, or where none is given, of the causes.

        Raises:
            SourceError: the source cannot answer, or lacks the service, that time, or a baseline before it.
        """

    def ownership(self, service: Service) -> Ownership:
        """Owner, tier, and links of a service; empty if unknown."""

    def now(self) -> float:
        """The hub's time in Unix seconds: the wall clock, a simulation's clock, or a fixed instant."""

    def status(self) -> Json:
        """Counters and ages for the status line: store, receiver, targets."""

    def ready(self) -> tuple[bool, str]:
        """Whether the hub is ready, and if not why."""

    def metrics_text(self, *, openmetrics: bool = False) -> str:
        """The hub's own metrics in the Prometheus text format."""
