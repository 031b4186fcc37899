"""Scenarios that only the demo has, besides those of the simulator."""

from __future__ import annotations

from pathlib import Path

DEMO_SCENARIOS = {"daily-peak": Path(__file__).with_name("daily-peak.yaml")}
"""They last a day: too long for evaluations, which play all scenarios of the simulator."""


def scenario_path(scenario: str) -> str:
    """The file of a scenario that only the demo has; other names and files stay as they are."""
    return str(DEMO_SCENARIOS.get(scenario, scenario))
