"""Days of load before the demo's own history, in coarse steps: what a capacity forecast needs, and nothing else.

Request rates are left out, and so are the last hours: baselines, also those of earlier days, must rest on the
simulated platform alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from foreshock_dashboard.hub.analysis_loop import WORLD_HISTORY_SECONDS
from foreshock_dashboard.model.capacity.load import FORECAST_STEP_SECONDS
from foreshock_dashboard.model.samples import Labels, Sample, SampleBatch
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world_sections import DAY_SECONDS
from foreshock_dashboard.simulated.endpoints import RenderPage
from foreshock_dashboard.sources.prometheus.target import ScrapeTarget
from foreshock_dashboard.sources.prometheus.text_format import parse

DAYS = 6
"""Length of the history."""
GAP_SECONDS = WORLD_HISTORY_SECONDS + FORECAST_STEP_SECONDS
"""Time before the present that is left to the simulated platform: more than an evaluation reads."""
STEP_SECONDS = FORECAST_STEP_SECONDS / 2
"""Time between two samples: a rate over a step of the forecast needs two."""
TOKENS = "vllm:generation_tokens_total"
PEAK_RATIO = 5.3
"""Load at the next peak over that of the present: about twice the safe load of llm-chat by default."""
PEAK_AHEAD_SECONDS = 10 * 3600.0
"""Time from the present to the next peak, whatever the hour is. The peaks of earlier days are at the same hour."""
PEAK_SHARPNESS = 4.0
"""Concentration of the day's von Mises curve: more than half of the peak for about six hours."""
LAUNCH_RATIO = 2.5
"""Growth of all load at a launch after the last peak: before it, peaks stay below the safe load of llm-chat, as they
must where nothing was overloaded."""
LAUNCH_SECONDS, LAUNCH_RAMP_SECONDS = 11 * 3600.0, 3600.0
"""Time from the launch to the present, and time over which load grows."""
NOISE_RATIO = 0.03
"""Standard deviation of load around its curve."""


def token_counts(pages: Iterable[tuple[RenderPage, ScrapeTarget]]) -> Mapping[Labels, float]:
    """Generated tokens of each replica of a model server so far, by the labels that a scrape would store."""
    samples = (sample for page, target in pages for sample in parse(page().decode(), target.target_labels))
    return {sample.labels: sample.value for sample in samples if sample.metric == TOKENS}


def load_history(tokens_per_second: Mapping[Labels, float], now: float) -> Iterator[SampleBatch]:
    """Counters of generated tokens of the days before `now` (Unix seconds), which lead to the present rates."""
    times = np.arange(now - DAYS * DAY_SECONDS, now - GAP_SECONDS, STEP_SECONDS)
    noise = np.random.default_rng(0).normal(1.0, NOISE_RATIO, len(times))
    seconds = np.cumsum(load_ratios(times, now) * noise) * STEP_SECONDS
    for time, at_present_rate in zip(times.tolist(), seconds.tolist(), strict=True):
        counters = (Sample(TOKENS, labels, rate * at_present_rate) for labels, rate in tokens_per_second.items())
        yield SampleBatch(time, "history", tuple(counters))


def load_ratios(times: Floats, now: float) -> Floats:
    """Load at the times over that at `now` (Unix seconds): 1 at `now`, and `PEAK_RATIO` at the next peak."""
    peak = np.cos(2 * np.pi * (np.append(times, now) - now - PEAK_AHEAD_SECONDS) / DAY_SECONDS)
    bump = np.exp(PEAK_SHARPNESS * (peak - 1))
    height = (PEAK_RATIO - 1) / (1 - PEAK_RATIO * bump[-1])
    launched = np.clip((times - now + LAUNCH_SECONDS) / LAUNCH_RAMP_SECONDS, 0.0, 1.0)
    ratios: Floats = LAUNCH_RATIO ** (launched - 1) * (1 + height * bump[:-1]) / (1 + height * bump[-1])
    return ratios
