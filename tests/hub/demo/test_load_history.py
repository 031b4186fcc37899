"""The demo's load history: it leads to the present load, peaks hours ahead, and leaves evaluations alone."""

from __future__ import annotations

import numpy as np
import pytest

from foreshock_dashboard.analysis.capacity.forecast import capacity_forecast
from foreshock_dashboard.analysis.capacity.shortage import hourly_means
from foreshock_dashboard.analysis.capacity.supply import Supply
from foreshock_dashboard.hub.analysis_loop import WORLD_HISTORY_SECONDS
from foreshock_dashboard.model.capacity.load import FORECAST_STEP_SECONDS, LoadKind, ShortageBasis, Subject
from foreshock_dashboard.model.samples import labels_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.replay.capacity_history import WINDOW_SECONDS
from foreshock_dashboard.simulated.demo import DEMO_HISTORY_SECONDS
from foreshock_dashboard.simulated.load_history import (
    DAYS,
    GAP_SECONDS,
    LAUNCH_RATIO,
    PEAK_AHEAD_SECONDS,
    PEAK_RATIO,
    TOKENS,
    load_history,
    load_ratios,
)

MIDNIGHT, HOUR, DAY = 20_000 * 86_400.0, 3600.0, 86_400.0
SAFE_RATIO = 2.34
"""Safe load of llm-chat over its load at the start of the demo, as measured there."""
CHAT, CODE = labels_of({"service_name": "llm-chat"}), labels_of({"service_name": "llm-code"})


@pytest.mark.parametrize("hour", [0.0, 5.3, 9.2, 13.5, 18.9, 23.9])
def test_at_any_hour_the_next_peak_is_the_first_shortage_and_hours_ahead(hour: float) -> None:
    """Peaks of the days before stay below the safe load, by a margin for the noise of a run: none of them is overload.

    The forecast rests on the history, the gap after it, and the simulated platform since.
    """
    now = MIDNIGHT + hour * HOUR
    start = now // FORECAST_STEP_SECONDS * FORECAST_STEP_SECONDS
    times = np.arange(start - DAYS * DAY, start, FORECAST_STEP_SECONDS)
    chat = Subject(Service("", "llm-chat"), "chat")
    noise = np.random.default_rng(1).normal(1.0, 0.03, len(times))
    load = load_ratios(times, now) * noise
    load[(times > now - GAP_SECONDS) & (times < now - DEMO_HISTORY_SECONDS)] = np.nan
    supply = Supply(chat, {LoadKind.TOKENS: 4 * SAFE_RATIO}, {LoadKind.TOKENS: 0.25}, replicas=2.0, ready=2.0)
    forecast = capacity_forecast(start, {(chat, LoadKind.TOKENS): load}, {chat: supply})
    (shortage,) = forecast.shortages
    assert shortage.basis is ShortageBasis.FORECAST
    assert np.nanmax(hourly_means(load)) < 0.95 * SAFE_RATIO
    assert 1.08 * SAFE_RATIO < shortage.peak < 1.5 * SAFE_RATIO
    assert 6 * HOUR < shortage.at - now < PEAK_AHEAD_SECONDS


@pytest.mark.parametrize("hour", [0, 9, 18])
def test_load_leads_to_the_present_and_peaks_hours_later(hour: int) -> None:
    """At whatever time the demo starts."""
    now = MIDNIGHT + hour * HOUR
    ahead = now + np.arange(0.0, DAY, 600.0)
    ratios = load_ratios(ahead, now)
    assert ratios[0] == pytest.approx(1.0)
    assert ratios.max() == pytest.approx(PEAK_RATIO, rel=0.02)
    assert ratios.min() > 0.7
    assert float(ahead[ratios.argmax()]) == pytest.approx(now + PEAK_AHEAD_SECONDS)


def test_counters_are_dense_enough_for_rates_and_end_before_what_an_evaluation_reads() -> None:
    """Rates of the last hours are near the present ones."""
    now = MIDNIGHT + 22 * HOUR
    batches = list(load_history({CHAT: 400.0, CODE: 80.0}, now))
    times = np.array([batch.time for batch in batches])
    assert (times[0], len({len(batch.samples) for batch in batches})) == (now - DAYS * DAY, 1)
    assert times[-1] < now - WORLD_HISTORY_SECONDS - WINDOW_SECONDS
    assert np.diff(times).max() * 2 <= WINDOW_SECONDS + 1
    for labels, rate in ((CHAT, 400.0), (CODE, 80.0)):
        counts = [sample.value for batch in batches for sample in batch.samples if sample[:2] == (TOKENS, labels)]
        rates = np.diff(counts) / np.diff(times)
        assert rates.min() > 0
        assert rates[-24:].mean() == pytest.approx(rate, rel=0.05)
        assert rates.max() == pytest.approx(PEAK_RATIO / LAUNCH_RATIO * rate, rel=0.1)
