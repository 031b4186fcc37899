"""The catalog of words as a JavaScript module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import get_args

import pytest

from foreshock_dashboard.model import incident, types
from foreshock_dashboard.render.words import incidents, panels, services
from foreshock_dashboard.render.words.script_module import words_module


def test_golden_module_is_the_catalog(golden: Callable[[str, str], None]) -> None:
    """Scripts have no words of their own for what the catalog names."""
    golden("../../dashboard/foreshock_dashboard/web/assets/words.js", words_module())


@pytest.mark.parametrize(
    ("table", "values"),
    [
        (incidents.SEVERITIES, incident.Severity),
        (incidents.STATES, incident.State),
        (incidents.CAUSES, incident.Cause),
        (incidents.CONFIDENCE_LEVELS, incident.ConfidenceLevel),
        (incidents.QUALITIES, incident.Quality),
        (services.HEALTHS, types.Health),
        (services.STAGES, types.Stage),
        (services.PAST_STAGES, types.Stage),
        (services.CONDITIONS, types.ConditionKind),
        (incidents.ROLES, incidents.Role),
        (panels.VERDICTS, panels.Verdict),
    ],
)
def test_every_value_of_an_enumeration_has_a_label(table: Mapping[str, str], values: object) -> None:
    assert table.keys() == set(get_args(values))
