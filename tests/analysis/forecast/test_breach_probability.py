"""The score of a breach decides; its probability is what happened at such scores."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from foreshock_dashboard.analysis.forecast.breach import NEVER, NOW, breach_probability, forecast, likely

EXCURSIONS = st.floats(0, 1000)


@given(EXCURSIONS, EXCURSIONS)
def test_more_excursions_make_a_breach_no_less_probable_than_fewer(one: float, other: float) -> None:
    """And never as certain as if each came by itself."""
    fewer, more = breach_probability(np.array(sorted((one, other))))
    assert 0 <= fewer <= more <= 1
    assert more <= -np.expm1(-max(one, other))


@given(arrays(np.float64, (2, 30), elements=st.floats(-3, 3)), st.floats(-1, 1))
def test_a_forecast_is_at_most_as_probable_as_its_score(logs: np.ndarray, limit: float) -> None:
    for breach in forecast(logs, limit, 10.0):
        assert 0 <= breach.probability <= breach.score + 1e-9 <= 1 + 1e-9


@given(st.floats(0.01, 0.9))
def test_slow_requests_keep_their_score(score: float) -> None:
    """By which early warnings and pages are decided."""
    assert likely(score).score == score > likely(score).probability


def test_what_never_breaches_or_does_already_is_certain() -> None:
    assert (NEVER.score, NEVER.probability, NOW.score, NOW.probability) == (0, 0, 1, 1)
