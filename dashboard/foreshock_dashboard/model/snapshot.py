"""What one tick of the hub gives to the web: a World, what the analysis says of it, and how good it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from foreshock_dashboard.model.forecast import Outlook
from foreshock_dashboard.model.incident import Incident, Learning
from foreshock_dashboard.model.query import MetricSource
from foreshock_dashboard.model.span import TraceSource
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.model.world import World


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One tick. `seq` grows by one with each; `world` is None until the first tick has read a source.

    `outlook` is what is expected of each service at the World's time. `error` says why the last tick could not read its
    source (the World then is the last good one); "" when it could. `bounds`: the Unix seconds between which a hub that
    stands in the past can be asked for any instant; None where it goes with the time.
    """

    seq: int
    world: World | None
    incidents: tuple[Incident, ...]
    learning: Learning
    error: str = ""
    outlook: Outlook = field(default_factory=Outlook)
    bounds: tuple[float, float] | None = None


class HubView(Protocol):
    """All that the web may see of the hub."""

    @property
    def snapshot(self) -> Snapshot:
        """The newest tick."""
        ...

    @property
    def metrics(self) -> MetricSource:
        """Where samples are read."""
        ...

    @property
    def traces(self) -> TraceSource:
        """Where traces are read."""
        ...

    def at(self, time: float) -> Snapshot:
        """What the hub showed, or would have shown, at an earlier instant (Unix seconds); may take seconds.

        Raises:
            SourceError: the source cannot answer, or holds nothing so early.
        """
        ...

    def over(self, start: float, end: float) -> World | None:
        """The World of a stretch of time, for charts: on a coarser grid where it is long; None without data.

        Raises:
            SourceError: the source cannot answer.
        """
        ...

    def now(self) -> float:
        """The hub's time in Unix seconds: the wall clock, a simulation's clock, or a fixed instant."""
        ...

    def status(self) -> Json:
        """Counters and ages for the status line: store, receiver, targets."""
        ...

    def ready(self) -> tuple[bool, str]:
        """Whether the hub can answer truthfully, and if not why."""
        ...

    def metrics_text(self, *, openmetrics: bool = False) -> str:
        """The hub's own metrics in the Prometheus text format."""
        ...
