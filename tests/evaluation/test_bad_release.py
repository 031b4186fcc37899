"""A bad release of the simulator, as a hub would have paged about it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from tests.simulator.scenarios.test_cascades import play, scenario

from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.change import change_before_clauses
from foreshock_dashboard.render.clause import joined_text
from foreshock_dashboard.replay.replay import replay_folder
from foreshock_evaluation.scores.outcome import Run
from foreshock_evaluation.suites.simulated import ensure_recording, scenario_place

STORE, ASSISTANT = Service("data", "vector-store"), Service("product", "assistant-feature")


@pytest.mark.parametrize(
    ("at", "when"),
    [
        (820.0, "3 min before the first anomaly"),
        (1060.0, "at the first anomaly"),
        (1600.0, "10 min after the first anomaly"),
    ],
)
def test_a_release_that_is_the_cause_is_named_with_its_version_and_its_time(at: float, when: str) -> None:
    change = Change(at, "deployment", STORE, before="1.4.1", after="1.4.2", source="github")
    text = joined_text(change_before_clauses(change, 1000.0))
    assert text == f"data/vector-store 1.4.2, deployed {when}"


@pytest.mark.slow
def test_a_neighbor_makes_the_cascade_after_a_harmless_release() -> None:
    """There is none without the batch job, so that the release is not its cause."""
    spec, start = scenario(scenario_place("neighbor-release"), 11, whole=False)
    truth, seconds = play(spec, 11, start)
    assert truth.cascaded
    assert spec.expects.origin in truth.breached
    assert not play(spec, 11, start, leave_out=spec.expects.root_cause, until=seconds)[0].cascaded


@pytest.mark.soak
@pytest.mark.parametrize(
    ("name", "released"),
    [
        ("slow-release", STORE),
        ("failing-release", Service("serving", "embedder")),
        ("chatty-release", ASSISTANT),
        ("verbose-release", ASSISTANT),
        ("hasty-release", Service("serving", "gateway")),
        ("leaking-release", STORE),
        ("swapping-release", Service("serving", "embedder")),
        ("two-releases", Service("serving", "embedder")),
    ],
)
def test_the_first_page_about_a_bad_release_names_its_version(tmp_path: Path, name: str, released: Service) -> None:
    played = replay_folder(ensure_recording(Run(name, "small", 11), tmp_path))
    page = min(played.paged.values(), key=lambda item: item.paged or math.inf)
    assert (page.cause, page.suspect.service) == ("change", released)
    assert page.suspect.change is not None
    assert (page.suspect.change.before, page.suspect.change.after) == ("1.4.1", "1.4.2")
