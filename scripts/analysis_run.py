"""A scenario as the analysis saw it, grid point by grid point, and charts of it."""

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
from foreshock_evaluation.truth import Truth, read_truth

BEFORE, AFTER = 600.0, 1200.0
"""Seconds about the begin of the fault that are shown."""
SINCE = Axis("minutes since t₀, when the fault begins")


@dataclass(frozen=True, slots=True)
class Run:
    """A played recording. states: after each point of `world`, which holds the whole of it."""

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
        """Where it begins."""
        assert self.truth.origin is not None
        return self.truth.origin

    def service(self, name: str) -> Service:
        """The service of that name."""
        return next(each for each in self.world.services if each.name == name)

    def breached(self, service: Service) -> float:
        """When a service first missed its objective, Unix seconds."""
        return self.truth.breached[service]

    def shown(self, before: float = BEFORE, after: float = AFTER) -> list[int]:
        """Grid points about t₀."""
        times = enumerate(self.world.times)
        return [at for at, time in times if self.onset - before <= time <= self.onset + after]

    def point(self, at: int) -> EvaluationPoint:
        """The World at a grid point, as it was judged."""
        return EvaluationPoint(self.world, at, self.states[at].learned.baselines)

    def minutes(self, points: Sequence[int]) -> list[float]:
        """Since t₀."""
        return [(float(self.world.times[at]) - self.onset) / 60 for at in points]

    def over(self, points: Sequence[int], of: Callable[[EvaluationPoint], float]) -> list[float]:
        """A figure of the evaluation at each of some points; NaN where it is infinite."""
        found = [of(self.point(at)) for at in points]
        return [value if math.isfinite(value) else math.nan for value in found]

    def incident(self, at: int) -> Incident | None:
        """The first that is open at a grid point."""
        return next((each for each in self.states[at].incidents if each.phase != "over"), None)

    def marks(self, *more: SvgMark) -> list[SvgMark]:
        """t₀, the first page and the first breach."""
        paged = [each.paged for state in self.states for each in state.incidents if each.paged is not None]
        found = [SvgMark(0.0, "t₀"), *more]
        if paged:
            found.append(SvgMark((min(paged) - self.onset) / 60, "page"))
        breached = [time for time in self.truth.breached.values() if time >= self.onset]
        if breached:
            found.append(SvgMark((min(breached) - self.onset) / 60, "first breach"))
        return found

    def chart(self, title: str, unit: str, lines: Sequence[SvgLine], *more: SvgMark) -> str:
        """Lines over the time since t₀, as SVG."""
        return svg(f"{title} ({self.truth.scenario})", SINCE, Axis(unit), lines, self.marks(*more))


def played(folder: Path) -> Run:
    """Replay a recording that comes with its truth.

    Raises:
        RecordingError: it cannot be read.
    """
    states: list[State] = []
    state = State()
    with closing(Recording(folder)) as recording:
        for world, first in worlds(recording):
            for at in range(first, len(world.times)):
                state = advance(state, world, at)
                states.append(state)
    return Run(world, tuple(states), read_truth(folder))
