"""The demo's load history: it leads to the present load, peaks hours ahead, and leaves evaluations alone."""

from __future__ import annotations

import numpy as np
import pytest

from foreshock_dashboard.hub.analysis_loop import WORLD_HISTORY_SECONDS
from foreshock_dashboard.model.samples import labels_of
from foreshock_dashboard.replay.capacity_history import WINDOW_SECONDS
from foreshock_dashboard.simulated.load_history import PEAK_RATIO, TOKENS, load_history, load_ratios

MIDNIGHT, HOUR, DAY = 20_000 * 86_400.0, 3600.0, 86_400.0
CHAT, CODE = labels_of({"service_name": "llm-chat"}), labels_of({"service_name": "llm-code"})


@pytest.mark.parametrize("hour", range(24))
def test_load_leads_to_the_present_and_peaks_hours_later_in_working_hours(hour: int) -> None:
    """At whatever time the demo starts."""
    now = MIDNIGHT + hour * HOUR
    ahead = now + np.arange(0.0, DAY, 600.0)
    ratios = load_ratios(ahead, now)
    peak = float(ahead[ratios.argmax()])
    assert ratios[0] == pytest.approx(1.0)
    assert ratios.max() == pytest.approx(PEAK_RATIO, rel=0.02)
    assert ratios.min() > 0.7
    assert peak - now >= 4.5 * HOUR
    assert 9 <= peak / HOUR % 24 <= 18
    assert (load_ratios(ahead - DAY, now) < ratios).all()


def test_counters_are_dense_enough_for_rates_and_end_before_what_an_evaluation_reads() -> None:
    """Rates of the last hours are near the present ones."""
    now = MIDNIGHT + 22 * HOUR
    batches = list(load_history({CHAT: 400.0, CODE: 80.0}, now))
    times = np.array([batch.time for batch in batches])
    assert (times[0], len({len(batch.samples) for batch in batches})) == (now - 8 * DAY, 1)
    assert times[-1] < now - WORLD_HISTORY_SECONDS - WINDOW_SECONDS
    assert np.diff(times).max() * 2 <= WINDOW_SECONDS + 1
    for labels, rate in ((CHAT, 400.0), (CODE, 80.0)):
        counts = [sample.value for batch in batches for sample in batch.samples if sample[:2] == (TOKENS, labels)]
        rates = np.diff(counts) / np.diff(times)
        assert rates.min() > 0
        assert rates[-24:].mean() == pytest.approx(rate, rel=0.05)
        assert rates.max() == pytest.approx(PEAK_RATIO * rate, rel=0.1)
