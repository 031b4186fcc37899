"""The early warning of the demo comes minutes before the first SLO breach, whatever the seed: recorded and replayed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from foreshock_dashboard.cli.main import main
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.replay.replay import replay_folder

MIN_LEAD_SECONDS = 120.0
ONE_MODEL = Path(__file__).with_name("one-model.yaml")


@pytest.mark.parametrize(
    ("scenario", "seed"),
    [
        (str(ONE_MODEL), 1),
        *(pytest.param("noisy-neighbor", seed, marks=pytest.mark.soak) for seed in range(1, 9)),
    ],
)
def test_the_early_warning_comes_minutes_before_users_notice(scenario: str, seed: int, tmp_path: Path) -> None:
    """By the load generator's own measurements; the page comes before that, or soon after it."""
    folder = tmp_path / "recording"
    flags = ["--size", "demo", "--seed", str(seed), "--duration", "52m", "--output-dir", str(folder)]
    assert main(["dev", "simulate", scenario, *flags]) == 0
    breached = min(json.loads((folder / "truth.json").read_text())["breached"].values())
    story = (Service("ml", "batch-embed"), Service("serving", "llm-chat"))
    (page,) = [
        incident
        for incident in replay_folder(folder).paged.values()
        if (incident.suspect.service, incident.service) == story
    ]
    assert page.paged is not None
    assert page.opened + MIN_LEAD_SECONDS <= breached
    assert page.opened < page.paged <= breached + MIN_LEAD_SECONDS
