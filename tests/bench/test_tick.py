"""The benchmark of an evaluation measures what its figures name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from bench.hub.tick import SLOWEST
from bench.support.figures import FILE_VARIABLE, Figure

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("minutes", "has_incidents"), [(40, True), (10, False)])
def test_evaluations_with_open_incidents_are_measured_or_their_figure_is_missed(
    minutes: int, has_incidents: bool, tmp_path: Path
) -> None:
    """A median hides the few evaluations that rank suspected causes; a short history has no incidents."""
    size = ["--gpus", "16", "--services", "60", "--edges", "120", "--ticks", "8"]
    subprocess.run(
        [sys.executable, "-m", "bench.hub.tick", *size, "--minutes", str(minutes)],
        cwd=ROOT,
        env=os.environ | {FILE_VARIABLE: str(tmp_path / "figures")},
        check=False,  # goals are for a quiet machine
    )
    figures = {each["name"]: each for each in map(json.loads, (tmp_path / "figures").read_text().splitlines())}
    slowest = Figure(**figures[SLOWEST])
    assert slowest.goal == 1.0
    if has_incidents:
        assert slowest.value >= figures["An evaluation"]["value"] > 0
    else:
        assert not slowest.held
