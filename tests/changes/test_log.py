"""The log of reported changes: each is kept once, survives a restart, and is read from a series as it was."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.changes.strategies import changes
from tests.world.scraped import START, world_scraped

from foreshock_dashboard.changes.labels import CHANGE_METRIC, change_labels, change_of_labels
from foreshock_dashboard.changes.log import SETTLED_SECONDS, ChangeLog
from foreshock_dashboard.changes.merging import merged_changes
from foreshock_dashboard.hub.self_metrics import MAX_EXPORTED, change_rows, change_samples
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.samples import labels_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.store import Journal, StoreError
from foreshock_dashboard.world.changes import ChangeRows
from foreshock_exporter.exposition.text_format import series_text, value_text

NOW = START
LLM = Service("serving", "llm")


def test_a_change_is_kept_once_and_survives_a_restart(tmp_path: Path) -> None:
    reported = Change(NOW - 60, "deployment", LLM, after="1.4.2", source="github", author="ada")
    for _ in range(2):
        journal = Journal(tmp_path, now=lambda: NOW)
        log = ChangeLog(journal)
        log.add(reported, "ci")
        log.add(reported, "ci")
        assert log.all() == (reported,)
        assert [(entry.kind, entry.by) for entry in journal.read()] == [("change", "ci")]
        journal.close()


SEEN = Change(NOW - 2000, "deployment", LLM, before="1.4.1", after="1.4.2", source="traces")
IMAGE = replace(SEEN, at=NOW - 2010, before="sha-1", after="sha-2", source="kubernetes")
TAKEN_BACK = replace(SEEN, at=NOW - 1000, before="1.4.2", after="1.4.1", stage="rollback")


def test_collected_changes_are_kept_once_per_source_across_restarts_and_are_one_change(tmp_path: Path) -> None:
    for _ in range(2):
        journal = Journal(tmp_path, now=lambda: NOW)
        log = ChangeLog(journal)
        for _ in range(2):
            log.record([SEEN, IMAGE, TAKEN_BACK], NOW)
        log.record([replace(TAKEN_BACK, stage="")], NOW)  # as when the time with 1.4.1 before is forgotten
        assert [(entry.by, entry.data["source"]) for entry in journal.read("change")] == [
            ("hub", "kubernetes"),
            ("hub", "traces"),
            ("hub", "traces"),
        ]
        assert log.reported() == ()
        shown = changes_of_readings(log.all(), replace(TAKEN_BACK, stage=""))
        assert shown == (replace(SEEN, at=IMAGE.at, source="kubernetes"), TAKEN_BACK)
        journal.close()


def changes_of_readings(kept: tuple[Change, ...], *seen: Change) -> tuple[Change, ...]:
    """The changes of a World whose samples show some, and whose journal has kept others."""
    return ChangeRows(lambda _: "", lambda _: "", lambda _: None).changes(NOW - 9000, NOW, {LLM}, (*seen, *kept))


def test_a_collected_change_is_kept_when_it_is_settled_and_outlasts_its_samples() -> None:
    log = ChangeLog(Journal(None, now=lambda: NOW))
    log.record([SEEN], SEEN.at + SETTLED_SECONDS - 1)
    assert log.all() == ()
    canary = replace(SEEN, stage="canary")
    log.record([canary], SEEN.at + SETTLED_SECONDS)
    log.record([], NOW)
    assert changes_of_readings(log.all()) == (canary,)


def test_objects_that_flap_cost_no_merge_of_all_that_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each collected change is compared with those of its object in the same ten minutes, and with no report."""
    log = ChangeLog(Journal(None, now=lambda: NOW))
    for number in range(60):
        log.add(Change(NOW - 9000, "other", Service("serving", f"api-{number}"), after="1", title="flag"), "ci")
    flapping = [
        replace(SEEN, at=NOW - 60_000 + 100 * number, after=str(number % 2), before=str(1 - number % 2))
        for number in range(100)
    ]
    log.all()
    merged: list[int] = []

    def counted(changes: list[Change]) -> tuple[Change, ...]:
        merged.append(len(changes))
        return merged_changes(changes)

    monkeypatch.setattr("foreshock_dashboard.changes.log.merged_changes", counted)
    for _ in range(2):
        log.record(flapping, NOW)
    assert len(log.all()) == 160
    assert max(merged) <= 14


def test_a_journal_that_fails_delays_the_collected_changes(caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(None, now=lambda: NOW)
    log = ChangeLog(journal)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "append", Mock(side_effect=StoreError("disk full")))
        for _ in range(2):
            log.record([SEEN], NOW)
    assert caplog.messages == ["collected changes cannot be kept: disk full"]
    log.record([SEEN], NOW)
    assert log.all() == (SEEN,)


def test_entries_of_another_kind_are_no_change() -> None:
    journal = Journal(None, now=lambda: NOW)
    log = ChangeLog(journal)
    journal.append("identity", NOW, "", {"id": "i"})
    assert log.all() == ()
    log.add(Change(NOW, "deployment", LLM, after="1.4.2", source="api"), "ci")
    journal.append("incident", NOW, "dana", {"id": "i"})
    assert [change.after for change in log.all()] == ["1.4.2"]


def test_two_reports_of_one_deployment_are_one_change() -> None:
    log = ChangeLog(Journal(None, now=lambda: NOW))
    log.add(Change(NOW, "deployment", LLM, after="1.4.2", source="github", author="ada"), "github")
    log.add(Change(NOW + 60, "deployment", LLM, after="ab12cd3", source="argocd", title="sync"), "argocd")
    assert log.all() == (Change(NOW, "deployment", LLM, after="1.4.2", source="github", author="ada", title="sync"),)


def test_a_failed_deployment_of_the_journal_is_marked_also_in_samples(tmp_path: Path) -> None:
    """Samples keep the report of its begin as it was, which the same log then calls failed."""
    log = ChangeLog(Journal(None, now=lambda: NOW))
    begun = Change(START + 3, "deployment", LLM, after="1.4.2", source="github", key="github:a/llm:7")
    log.add(begun, "github")
    log.add(replace(begun, at=START + 1800), "github")
    assert log.all() == (begun,)
    early = change_samples(log.all(), START + 60)
    failure = replace(begun, at=START + 1900, failed_at=START + 1900)
    failed = replace(begun, failed_at=START + 1900)
    log.add(failure, "github")
    log.add(failure, "github")
    assert log.all() == (failed, failure)
    late = change_samples(log.all(), START + 1960)

    def page(seconds: float) -> str:
        samples = early if seconds < 1900 else (*early, *late)
        return "\n".join(f"{series_text(item.metric, item.labels)} {value_text(item.value)}" for item in samples)

    pages = {("foreshock-hub", "hub:8050"): page}
    assert world_scraped(tmp_path / "before", pages, seconds=300).changes == (begun,)
    assert world_scraped(tmp_path / "after", pages, seconds=2100).changes == (failed,)


def test_a_deployment_that_is_taken_back_at_once_and_made_again_is_three_changes(tmp_path: Path) -> None:
    journal = Journal(tmp_path, now=lambda: NOW)
    log = ChangeLog(journal)
    for age, version in ((300, "v2"), (200, "v1"), (100, "v2"), (50, "v2")):
        log.add(Change(NOW - age, "deployment", LLM, after=version, source="api"), "ci")
    assert [change.after for change in log.all()] == ["v2", "v1", "v2"]
    assert [change.after for change in ChangeLog(journal).all()] == ["v2", "v1", "v2"]
    journal.close()


def test_an_entry_that_this_version_does_not_know_is_left_out() -> None:
    journal = Journal(None, now=lambda: NOW)
    journal.append("change", NOW, "hub", {"kind": "teleport", "source": "api"})
    assert ChangeLog(journal).all() == ()


@settings(max_examples=settings().max_examples // 2)
@given(changes(), st.floats(0, 4e9))
def test_labels_keep_a_reported_change(change: Change, at: float) -> None:
    assert change_of_labels(at, change_labels(change)) == replace(change, at=at)


@given(st.dictionaries(st.sampled_from([*change_labels(Change(0, "other"))]), st.text()))
def test_labels_of_anyone_give_clean_texts_and_safe_links(labels: dict[str, str]) -> None:
    change = change_of_labels(NOW, {"kind": "other", "source": "api", **labels})
    if change is not None:
        assert all(text.isprintable() or not text.isascii() for text in change_labels(change).values())
        assert change.link == "" or change.link.lower().startswith(("http://", "https://"))


def test_a_world_has_the_reported_changes_of_its_source(tmp_path: Path) -> None:
    """So do recordings, which keep the series: the hub exports reported changes, and stores them itself."""
    reported = [
        Change(START + 3.25, "deployment", LLM, after="1.4.2", source="github", title='a "b" \\ c', link="https://a/b"),
        Change(START + 90, "other", title="flag on", source="api"),
    ]

    def page(seconds: float) -> str:
        samples = change_samples(reported, START + seconds)
        return "\n".join(f"{series_text(item.metric, item.labels)} {value_text(item.value)}" for item in samples)

    world = world_scraped(tmp_path, {("foreshock-hub", "hub:8050"): page, ("foreshock-hub", "hub2:8050"): page})
    assert world.changes == tuple(reported)
    assert world.change_tracked


def test_claims_of_the_future_are_forgotten_and_only_versions_make_a_service_tracked() -> None:
    times = np.array([NOW])
    future = Change(NOW + 3600, "deployment", LLM, after="9", source="api")
    version = Change(NOW - 9, "deployment", Service("gpu-prod", "llm"), after="2", source="argocd")
    title = Change(NOW - 9, "other", Service("serving", "web"), title="hello", source="api")
    rows = {labels_of(change_labels(change)): np.array([change.at]) for change in (future, version, title)}
    readings = defaultdict(lambda: Matrix.empty(times), {"reported_change": Matrix.of(times, rows)})
    changes = ChangeRows(lambda _: "", lambda _: "", lambda _: None)
    changes.update(readings, NOW - 100)
    found = changes.changes(NOW - 100, NOW + 7200, {LLM})
    assert found == (replace(version, service=LLM), title)
    assert changes.tracked_services({LLM}) == {LLM}


def test_only_recent_changes_have_a_series_and_equal_ones_share_it() -> None:
    old, first, again, later = (
        Change(NOW - age, "deployment", LLM, after="1", source="api") for age in (4000, 900, 100, -60)
    )
    assert list(change_rows([old, first, again, later], NOW).values()) == [NOW - 100]
    many = [replace(first, after=str(number)) for number in range(MAX_EXPORTED + 1)]
    assert len(change_rows(many, NOW)) == MAX_EXPORTED
    assert {sample.metric for sample in change_samples([again], NOW)} == {CHANGE_METRIC}


def test_the_page_of_metrics_has_no_text_of_a_sender_but_the_version() -> None:
    change = Change(
        NOW - 5,
        "deployment",
        LLM,
        "secret",
        "secret",
        "secret",
        "2",
        "",
        "github",
        "secret",
        "https://secret",
        "secret",
    )
    assert [*change_rows([change], NOW)] == [("deployment", "llm", "serving", "github", "", "2")]


def test_a_change_of_a_scraped_hub_is_the_one_in_its_journal() -> None:
    kept = Change(NOW - 5, "configuration", host="gpu-1", setting="mps", title="share", source="api", author="ada")
    exported = Change(NOW - 5, "configuration", source="api")
    assert merged_changes([kept, exported]) == (kept,)
