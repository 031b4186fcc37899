"""A hub ends soon after a signal, also while it starts and in its first evaluation."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Eventually
from tests.hub.incidents.test_cluster_change import PAGED_BY, Platform
from tests.hub.process import HubProcess

from foreshock_dashboard.analysis.incidents.lifecycle import State, advance
from foreshock_dashboard.hub import analysis_loop
from foreshock_dashboard.model.world import World


def test_a_hub_that_still_imports_its_page_ends_at_once(tmp_path: Path, eventually: Eventually) -> None:
    """It does not start before it ends."""
    hub = HubProcess.serving(tmp_path / "store")
    eventually((tmp_path / "store" / "journal.format").exists, "the journal", 60.0)
    assert hub.end() == 0, hub.output
    assert "page " not in hub.output
    assert "Traceback" not in hub.output


def test_an_evaluation_of_the_first_hours_ends_when_the_hub_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub ends at the third of hundreds of points."""
    points: list[int] = []

    def advance_and_end(state: State, world: World, at: int, *rest: Any) -> State:  # noqa: ANN401 - of advance
        points.append(at)
        if len(points) == 3:
            platform.loop.end()
        return advance(state, world, at, *rest)

    monkeypatch.setattr(analysis_loop, "advance", advance_and_end)
    with closing(Platform(tmp_path)) as platform:
        assert platform.until(PAGED_BY, "eu") == ()
        assert platform.loop.snapshot.world is None
    assert len(points) == 3
