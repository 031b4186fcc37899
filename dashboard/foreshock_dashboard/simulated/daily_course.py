"""The daily course of a scenario's load: flows of which the rate follows the hour (`diurnal`), and grows by the day."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world_sections import DAY_SECONDS
from foreshock_dashboard.simulated.load_history import PEAK_AHEAD_SECONDS
from foreshock_simulator.spec.faults import Surge
from foreshock_simulator.spec.scenario import ScenarioSpec

LAUNCH_RATIO = 1.25
"""Growth of load at a launch after the last peak: peaks before it stay below the safe load, as where nothing was
overloaded, and the next one exceeds it."""
LAUNCH_SECONDS, LAUNCH_RAMP_SECONDS = 12 * 3600.0, 3 * 3600.0
"""Time from the launch to the present, and time over which load grows: slowly, as the evening's load falls."""


@dataclass(frozen=True, slots=True)
class DailyCourse:
    """Load of a day relative to that at `now`.

    diurnal: as in `FlowSpec`, above 0. growth: load over that of the same hour of the day before.
    """

    diurnal: float
    growth: float

    def ratios(self, times: Floats, now: float) -> Floats:
        """Load at the times over that at `now` (Unix seconds), with the peak `PEAK_AHEAD_SECONDS` after it."""
        days = (np.append(times, now) - now) / DAY_SECONDS
        wave = 1 + self.diurnal * np.cos(2 * np.pi * (days - PEAK_AHEAD_SECONDS / DAY_SECONDS))
        launched = np.clip((days * DAY_SECONDS + LAUNCH_SECONDS) / LAUNCH_RAMP_SECONDS, 0.0, 1.0)
        load = wave * self.growth**days * LAUNCH_RATIO**launched
        ratios: Floats = load[:-1] / load[-1]
        return ratios


def daily_course(spec: ScenarioSpec) -> DailyCourse | None:
    """The course of the largest flow with one; None without any. Surges of a day or more are growth."""
    flow = max((flow for flow in spec.platform.flows if flow.diurnal), key=lambda flow: flow.rate, default=None)
    if flow is None:
        return None
    growing = (
        fault.factor ** (DAY_SECONDS / fault.ramp)
        for fault in spec.faults
        if isinstance(fault, Surge) and fault.flow == flow.name and fault.ramp >= DAY_SECONDS
    )
    return DailyCourse(flow.diurnal, max(growing, default=1.0))


def with_peak_ahead(spec: ScenarioSpec, now: float) -> ScenarioSpec:
    """The scenario with all daily peaks `PEAK_AHEAD_SECONDS` after `now` (Unix seconds), whatever the hour is."""
    hour = (now + PEAK_AHEAD_SECONDS) % DAY_SECONDS / 3600
    flows = tuple(replace(flow, peak_hour=hour) if flow.diurnal else flow for flow in spec.platform.flows)
    return replace(spec, platform=replace(spec.platform, flows=flows))
