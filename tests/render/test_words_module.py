"""The catalog of words as a JavaScript module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import get_args

import pytest

from foreshock_dashboard.model import incident, types
from foreshock_dashboard.render import words
from foreshock_dashboard.render.words import words_module


def test_golden_module_is_the_catalog(golden: Callable[[str, str], None]) -> None:
    """Scripts have no words of their own for what the catalog names."""
    golden("../../dashboard/foreshock_dashboard/web/assets/words.js", words_module())


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (words.SEVERITIES, incident.Severity),
        (words.STATES, incident.State),
        (words.CAUSES, incident.Cause),
        (words.CONFIDENCE_LEVELS, incident.ConfidenceLevel),
        (words.QUALITIES, incident.Quality),
        (words.HEALTHS, types.Health),
        (words.STAGES, types.Stage),
        (words.PAST_STAGES, types.Stage),
        (words.CONDITIONS, types.ConditionKind),
        (words.ROLES, words.Role),
        (words.VERDICTS, words.Verdict),
    ],
)
def test_every_value_of_an_enumeration_has_a_label(table: Mapping[str, str], values: object) -> None:
    assert table.keys() == set(get_args(values))
