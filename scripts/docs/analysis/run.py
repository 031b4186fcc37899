"""A replayed scenario with the state of the analysis at each grid point, and charts of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.incidents.lifecycle import State, advance
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.replay.replay import worlds
from foreshock_dashboard.web.charts.svg import Axis, SvgLine, SvgMark
from foreshock_dashboard.web.charts.svg import draw as svg
from foreshock_evaluation.scores.truth import Truth, read_truth

BEFORE_SECONDS, AFTER_SECONDS = 600.0, 1200.0
"""Default range of a chart around the start of the fault."""
TIME_AXIS = Axis("minutes since t₀, when the fault begins")


@dataclass(frozen=True, slots=True)
class Run:
    """A replayed recording. world: the whole recording. states: after each of its grid points."""

    world: World
    states: tuple[State, ...]
    truth: Truth

    @property
    def onset(self) -> float:
        """t₀ in Unix seconds."""
        assert self.truth.onset is not None
        return self.truth.onset

    @property
    def origin(self) -> Service:
        """Service where the cascade begins."""
        assert self.truth.origin is not None
        return self.truth.origin

    def service(self, name: str) -> Service:
        """The service with a name."""
        return next(service for service in self.world.services if service.name == name)

    def breached(self, service: Service) -> float:
        """First SLO breach of a service, Unix seconds."""
        return self.truth.breached[service]

    def shown(self, before: float = BEFORE_SECONDS, after: float = AFTER_SECONDS) -> list[int]:
        """Grid points around t₀."""
        times = enumerate(self.world.times)
        return [at for at, time in times if self.onset - before <= time <= self.onset + after]

    def point(self, at: int) -> EvaluationPoint:
        """The World at a grid point, with the baselines learned by then."""
        return EvaluationPoint(self.world, at, self.states[at].learned.baselines)

    def minutes(self, points: Sequence[int]) -> list[float]:
        """Minutes since t₀ of grid points."""
        return [(float(self.world.times[at]) - self.onset) / 60 for at in points]

    def over(self, points: Sequence[int], value_at: Callable[[EvaluationPoint], float]) -> list[float]:
        """A value at each grid point; NaN in place of infinite values."""
        values = [value_at(self.point(at)) for at in points]
        return [value if math.isfinite(value) else math.nan for value in values]

    def incident(self, at: int) -> Incident | None:
        """First open incident at a grid point."""
        return next((incident for incident in self.states[at].incidents if incident.is_open), None)

    def marks(self, *more: SvgMark) -> list[SvgMark]:
        """t₀, the first page, and the first breach."""
        paged = [item.paged for state in self.states for item in state.incidents if item.paged is not None]
        marks = [SvgMark(0.0, "t₀"), *more]
        if paged:
            marks.append(SvgMark((min(paged) - self.onset) / 60, "page"))
        breached = [time for time in self.truth.breached.values() if time >= self.onset]
        if breached:
            marks.append(SvgMark((min(breached) - self.onset) / 60, "first breach"))
        return marks

    def chart(self, title: str, unit: str, lines: Sequence[SvgLine], *more: SvgMark) -> str:
        """Lines over the time since t₀, as SVG."""
        return svg(f"{title} ({self.truth.scenario})", TIME_AXIS, Axis(unit), lines, self.marks(*more))


def replayed(folder: Path) -> Run:
    """Replay a recording with a ground truth.

    Raises:
        RecordingError: the recording cannot be read.
    """
    states: list[State] = []
    state = State()
    with closing(Recording(folder)) as recording:
        for world, first in worlds(recording):
            for at in range(first, len(world.times)):
                state = advance(state, world, at)
                states.append(state)
    return Run(world, tuple(states), read_truth(folder))
