"""A hub ends soon after a signal, also while it starts and in its first evaluation."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Eventually
from tests.hub.process import HubProcess
from tests.hub.test_cluster_change import PAGED_BY, Platform


def test_a_hub_that_still_imports_its_page_ends_at_once(tmp_path: Path, eventually: Eventually) -> None:
    """It does not start before it ends."""
    hub = HubProcess.serving(tmp_path / "store")
    eventually((tmp_path / "store" / "journal.format").exists, "the journal", 60.0)
    assert hub.end() == 0, hub.output
    assert "page " not in hub.output
    assert "Traceback" not in hub.output


def test_an_evaluation_of_the_first_hours_ends_when_the_hub_does(tmp_path: Path) -> None:
    platform = Platform(tmp_path)
    try:
        platform.loop.end()
        assert platform.until(PAGED_BY, "eu") == ()
        assert platform.loop.snapshot.world is None
    finally:
        platform.close()
