"""The journal keeps the clusters that were seen, so that a restart while one is away changes no name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from foreshock_dashboard.hub.known_clusters import KNOWN_SECONDS, RENEW_SECONDS, KnownClusters
from foreshock_dashboard.store.journal import Journal

NOW = 1_800_000_000.0
LABELS = ("k8s_cluster_name", "cluster")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """An empty journal."""
    made = Journal(tmp_path, now=lambda: NOW)
    yield made
    made.close()


def test_clusters_are_known_after_a_restart_for_a_while_and_for_their_labels(journal: Journal) -> None:
    KnownClusters(journal, LABELS).record({"eu", "us"}, NOW)
    KnownClusters(journal, LABELS).record({"eu"}, NOW + KNOWN_SECONDS / 2)
    for labels, later, known in (
        (LABELS, 86_400.0, {"eu", "us"}),
        (LABELS, KNOWN_SECONDS + 1, {"eu"}),
        (("region",), 0.0, set[str]()),
        ((), 0.0, set[str]()),
    ):
        assert KnownClusters(journal, labels).read(NOW + later) == known, (labels, later)


def test_a_cluster_that_is_seen_is_written_once_a_day(journal: Journal) -> None:
    known = KnownClusters(journal, LABELS)
    for time in (NOW, NOW + 60, NOW + RENEW_SECONDS - 1, NOW + RENEW_SECONDS):
        known.record({"eu"}, time)
        restarted = KnownClusters(journal, LABELS)
        restarted.read(time)
        restarted.record({"eu"}, time)
    assert [entry.at for entry in journal.read("cluster")] == [NOW, NOW + RENEW_SECONDS]
