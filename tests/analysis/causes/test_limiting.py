"""Which rate somebody who asks too much is to be held to, and that none is named where it would change nothing."""

from __future__ import annotations

import pytest
from tests.analysis.causes.made import ANSWER, ASK, FRONT, IN, LLM, Bent, point, ramp
from tests.analysis.causes.test_causes import WAITS

from foreshock_dashboard.analysis.detectors.demand import demand
from foreshock_dashboard.render.action import action_text


@pytest.mark.parametrize(
    ("asks", "limit"),
    [
        (8.0, f"limit {FRONT} to its usual 5 requests a second (now 8)"),
        (5.2, f"limit the rate of {FRONT}"),
        (4.0, f"limit the rate of {FRONT}"),
    ],
    ids=["it asks for more", "its requests became longer", "it asks for less"],
)
def test_the_usual_rate_is_named_where_that_grew(asks: float, limit: str) -> None:
    """The model generates 1.8 times as many tokens."""
    bent: Bent = {
        **WAITS,
        ("generated_tokens", LLM): ramp(200, 280, 1000, 1800),
        ("rate", FRONT): ramp(200, 280, 5, asks),
        **{("edge_rate", edge): ramp(200, 280, 5, max(asks, 5.2)) for edge in (IN, ASK, ANSWER)},
    }
    (found,) = [each for each in demand(point(bent)) if each.service == LLM]
    assert found.suspect.service == FRONT
    assert action_text(found.action).partition(", or ")[0] == limit
