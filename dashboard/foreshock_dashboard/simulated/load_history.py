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

DAYS = 8
"""Length of the history: a week and a day."""
GAP_SECONDS = WORLD_HISTORY_SECONDS + FORECAST_STEP_SECONDS
"""Time before the present that is left to the simulated platform: more than an evaluation reads."""
STEP_SECONDS = FORECAST_STEP_SECONDS / 2
"""Time between two samples: a rate over a step of the forecast needs two."""
TOKENS = "vllm:generation_tokens_total"
PEAK_RATIO = 3.0
"""Load at the next peak over that of the present: about a third above the safe load of llm-chat by default."""
EARLY_PEAK_HOUR, LATE_PEAK_HOUR = 9.0, 18.0
"""Hours of the day (UTC) at which load may peak."""
LATE_FROM_HOUR, LATE_TO_HOUR = 4.5, 13.5
"""Present hours with the late peak, so that the peak is hours away from any present."""
PEAK_SHARPNESS = 4.0
"""Concentration of the day's von Mises curve: more than half of the peak for about six hours."""
GROWTH_PER_DAY = 0.01
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
    """Load at the times over that at `now` (Unix seconds): 1 at `now`, and `PEAK_RATIO` and growth at the next peak."""
    hour = now / 3600 % 24
    peak = LATE_PEAK_HOUR if LATE_FROM_HOUR <= hour < LATE_TO_HOUR else EARLY_PEAK_HOUR
    bump = np.exp(PEAK_SHARPNESS * (np.cos(2 * np.pi * (np.append(times, now) / 3600 - peak) / 24) - 1))
    height = (PEAK_RATIO - 1) / (1 - PEAK_RATIO * bump[-1])
    growth = (1 + GROWTH_PER_DAY) ** ((times - now) / DAY_SECONDS)
    ratios: Floats = growth * (1 + height * bump[:-1]) / (1 + height * bump[-1])
    return ratios
