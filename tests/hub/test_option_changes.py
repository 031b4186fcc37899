"""A hub that starts with other options, or in another version, has changed itself."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest

from foreshock_dashboard.changes.log import ChangeLog
from foreshock_dashboard.hub.option_changes import record_options, watched_options
from foreshock_dashboard.render.change import change_text
from foreshock_dashboard.settings.settings import load_settings
from foreshock_dashboard.store import Journal, StoreError

NOW = 1_800_000_000.0


def test_each_option_that_differs_from_the_last_start_is_a_change(tmp_path: Path) -> None:
    starts: tuple[tuple[str, dict[str, object]], ...] = (
        ("0.2.0", {}),
        ("0.2.0", {}),
        ("0.2.0", {"slo": ["llm-chat=20s:1%"], "scrape_interval": "15s", "port": "1"}),
        ("0.3.0", {"slo": ["llm-chat=20s:1%"], "scrape_interval": "15s"}),
        ("0.3.0", {"prometheus_url": "https://prometheus.example"}),
    )
    shown = []
    for number, (version, flags) in enumerate(starts):
        journal = Journal(tmp_path, now=lambda: NOW)
        before = len(ChangeLog(journal).all())
        record_options(journal, watched_options(load_settings(flags, {}), version), NOW + 3600 * number)
        shown.append([change_text(change) for change in ChangeLog(journal).all()[before:]])
        journal.close()
    assert shown == [
        [],
        [],
        ["--scrape-interval 10 → 15", "--slo default → llm-chat=20:0.01"],
        ["foreshock 0.2.0 → 0.3.0"],
        [
            "--scrape-interval 15 → 10",
            "--slo llm-chat=20:0.01 → default",
            "--prometheus-url default → https://prometheus.example",
        ],
    ]


def test_a_change_of_one_item_in_a_long_list_shows_that_item(tmp_path: Path) -> None:
    """However long the list is, and whatever characters the items have."""
    listed = [f"svc-{number:03d}=20s:1%" for number in range(30)]
    journal = Journal(tmp_path, now=lambda: NOW)
    for slo, tiers in (
        (listed, ["a@x=gold", "b=silver"]),
        ([*listed[:-1], "svc-029=5s:50%"], ["a@y=gold", "b=silver"]),
        (listed[:-1], ["a@y=gold", "b=silver"]),
    ):
        record_options(journal, watched_options(load_settings({"slo": slo, "tiers": tiers}, {}), "0.2.0"), NOW)
    assert [change_text(change) for change in ChangeLog(journal).all()] == [
        "--slo svc-029=20:0.01 → svc-029=5:0.5",
        "--tiers a@x=gold → a@y=gold",
        "--slo svc-029=5:0.5 → default",
    ]
    journal.close()


def test_a_journal_that_fails_does_not_stop_the_hub(caplog: pytest.LogCaptureFixture) -> None:
    journal = Mock(read=Mock(side_effect=StoreError("disk full")))
    record_options(journal, {"--slo": "a=1"}, NOW)
    assert caplog.messages == ["changes of options cannot be kept: disk full"]
