"""A bad release of the simulator, as a hub would have paged about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.change import change_before_clauses
from foreshock_dashboard.render.clause import joined_text
from foreshock_dashboard.replay.replay import replay_folder
from foreshock_evaluation.scores.outcome import Run
from foreshock_evaluation.suites.simulated import ensure_recording

STORE = Service("data", "vector-store")


def test_a_release_that_is_the_cause_is_named_with_its_version_and_its_time() -> None:
    change = Change(820.0, "deployment", STORE, before="1.4.1", after="1.4.2", source="github")
    text = joined_text(change_before_clauses(change, 1000.0))
    assert text == "data/vector-store 1.4.2, deployed 3 min before the first anomaly"


@pytest.mark.soak
def test_the_first_page_about_a_bad_release_names_its_version(tmp_path: Path) -> None:
    played = replay_folder(ensure_recording(Run("slow-release", "small", 11), tmp_path))
    page = next(item for item in played.paged.values() if item.service == STORE)
    assert (page.cause, page.suspect.service) == ("change", STORE)
    assert page.suspect.change is not None
    assert (page.suspect.change.before, page.suspect.change.after) == ("1.4.1", "1.4.2")
