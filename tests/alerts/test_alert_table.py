"""Recordings in a real Prometheus: which alert fires when, against the ground truth."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from foreshock_simulator.scenarios.load import names

FOREIGN = {
    "ForeshockRetryAmplification",
    "ForeshockLLMQueueGrowing",
    "ForeshockFailurePropagationSuspected",
    "ForeshockKVCacheSaturated",
}
CONSTANT = "ForeshockMetastableRisk"
"""Left out of the table."""


@pytest.fixture
def timeline() -> Any:  # noqa: ANN401 - a module
    """scripts/docs/alert_timeline.py."""
    return importlib.import_module("scripts.docs.alert_timeline")


def judged(*arguments: str) -> list[dict[str, Any]]:
    """What the script says of scenarios."""
    command: list[str | Path] = [sys.executable, "-m", "scripts.docs.alert_table", "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.soak
def test_a_cascade_is_paged_about_and_explained_also_without_foreshock() -> None:
    """The hub pages within a minute of the onset, PromQL names the neighbor, foreign metrics show the rest."""
    (starve,) = judged("starve", "--duration", "60m")
    since = {name: (time - starve["onset"]) / 60 for name, time in starve["firsts"].items()}
    assert since["ForeshockIncident"] <= 1
    assert since["ForeshockGPUNoisyNeighbor"] <= 5
    assert "ForeshockGPUContended" in since
    assert "ForeshockSLOFastBurn" in since
    assert starve["foreign"].keys() >= FOREIGN
    assert not [name for name in starve["foreign"] if re.match("ForeshockIncident|ForeshockEarly|ForeshockGPU", name)]


@pytest.mark.soak
def test_benign_scenarios_send_no_page() -> None:
    """Not one critical alert, on any of those that come along."""
    for each in judged("calm", "absorbed-crowd", "isolated-batch", "rolling-restart"):
        critical = {"ForeshockIncident", "ForeshockFailurePropagating"}
        assert not critical & (each["firsts"].keys() | each["foreign"].keys()), each["scenario"]


def test_the_documented_table_has_every_scenario_and_only_existing_alerts(root: Path, rules: list[Any]) -> None:
    """It is written by the script."""
    text = (root / "docs/internals/alert-latency.md").read_text()
    table = text[text.index("<!-- alert-table -->") : text.index("<!-- /alert-table -->")]
    rows = re.findall(r"^\| `([\w-]+)` \| (\S+) \| (.*) \| (.*) \|$", table, re.MULTILINE)
    assert sorted(name for name, *_ in rows) == sorted(names())
    alerts = {rule["alert"].removeprefix("Foreshock") for rule in rules if "alert" in rule}
    fired = {word for _, _, *cells in rows for cell in cells for word in re.findall(r"([A-Z]\w+) ", cell + " ")}
    assert fired <= alerts
    quiet = re.findall(r"Not firing in any of these: (.*)\.", table)[0].split(", ")
    assert set(quiet) | fired | {CONSTANT.removeprefix("Foreshock")} == alerts


@pytest.mark.parametrize(
    ("active", "wait", "keep", "fires"),
    [
        ([], 60, 0, []),
        ([0, 30], 60, 0, []),
        ([0, 30, 60], 60, 0, [(60, 90)]),
        ([0, 30, 60, 90, 120, 180, 210, 240], 60, 0, [(60, 150), (240, 270)]),
        ([0, 30, 60, 150, 180], 60, 60, [(60, 270)]),  # kept, and goes on without waiting again
        ([0, 30, 60, 180], 60, 60, [(60, 150)]),  # kept too short, and then not for long enough
        ([0], 0, 300, [(0, 330)]),
        ([900, 930, 960], 0, 60, [(900, None)]),  # still firing at the end
    ],
)
def test_for_and_keep_firing_for_are_applied_as_prometheus_does(
    timeline: Any,  # noqa: ANN401 - a module
    active: Sequence[float],
    wait: float,
    keep: float,
    fires: list[tuple[float, float | None]],
) -> None:
    """With evaluations half a minute apart, the last at 960 s."""
    assert list(timeline.firing(active, wait, keep, 960)) == fires
