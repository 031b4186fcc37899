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


def test_a_restart_days_after_a_stray_cluster_forgets_it_and_the_known_ones_are_logged(
    journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    """A laptop's, or that of an earlier name, while the others go on."""
    known = KnownClusters(journal, LABELS)
    known.record({"laptop", "prod"}, NOW)
    for hour in range(1, 50):
        known.record({"prod"}, NOW + hour * 3600.0)
    with caplog.at_level("INFO"):
        assert KnownClusters(journal, LABELS).read(NOW + 24 * 3600.0) == {"laptop", "prod"}
        assert "laptop (last seen 2027-01-15 08:00:00 UTC), prod (last seen" in caplog.text
        caplog.clear()
        assert KnownClusters(journal, LABELS).read(NOW + 49 * 3600.0) == {"prod"}
        assert not caplog.text


def test_a_cluster_that_is_seen_is_written_once_an_hour(journal: Journal) -> None:
    known = KnownClusters(journal, LABELS)
    for time in (NOW, NOW + 60, NOW + RENEW_SECONDS - 1, NOW + RENEW_SECONDS):
        known.record({"eu"}, time)
        restarted = KnownClusters(journal, LABELS)
        restarted.read(time)
        restarted.record({"eu"}, time)
    assert [entry.at for entry in journal.read("cluster")] == [NOW, NOW + RENEW_SECONDS]
