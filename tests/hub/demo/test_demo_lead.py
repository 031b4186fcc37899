"""The early warning of the demo comes minutes before the first SLO breach: recorded and replayed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from foreshock_dashboard.cli.main import main
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.replay.replay import replay_folder

MIN_LEAD_SECONDS = 120.0
ONE_MODEL = Path(__file__).with_name("one-model.yaml")


def test_the_early_warning_comes_minutes_before_users_notice(tmp_path: Path) -> None:
    """On the smallest platform that has the story of the demo."""
    assert lead_seconds(str(ONE_MODEL), 1, tmp_path) >= MIN_LEAD_SECONDS


@pytest.mark.soak
def test_nearly_all_seeds_of_the_demo_warn_minutes_before_users_notice(tmp_path: Path) -> None:
    """A burst of long requests at the fault may breach the SLO at once."""
    leads = sorted(lead_seconds("noisy-neighbor", seed, tmp_path / str(seed)) for seed in range(1, 9))
    assert leads[0] > 0, leads
    assert leads[1] >= MIN_LEAD_SECONDS, leads


def lead_seconds(scenario: str, seed: int, folder: Path) -> float:
    """From the early warning to the first breach by the load generator's own measurements."""
    flags = ["--size", "demo", "--seed", str(seed), "--duration", "52m", "--output-dir", str(folder / "recording")]
    folder.mkdir(exist_ok=True)
    assert main(["dev", "simulate", scenario, *flags]) == 0
    breached: float = min(json.loads((folder / "recording" / "truth.json").read_text())["breached"].values())
    story = (Service("ml", "batch-embed"), Service("serving", "llm-chat"))
    (page,) = [
        incident
        for incident in replay_folder(folder / "recording").paged.values()
        if (incident.suspect.service, incident.service) == story
    ]
    assert page.paged is not None
    assert page.opened < page.paged <= breached + MIN_LEAD_SECONDS, "the page comes before that, or soon after it"
    return breached - page.opened
