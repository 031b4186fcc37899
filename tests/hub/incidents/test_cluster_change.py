"""An incident that is open when a second cluster appears stays the same, though all names change.

Real samples in a real store, analyzed by the loop of the hub, with its journal and its notifier.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.hub.analysis_loop import AnalysisLoop, LoopInputs
from foreshock_dashboard.hub.identities import Identities
from foreshock_dashboard.hub.known_clusters import KnownClusters
from foreshock_dashboard.hub.memory import Memory
from foreshock_dashboard.hub.notifications import notifier
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.notify.channels import read_channels
from foreshock_dashboard.notify.notifier import Hooks
from foreshock_dashboard.response.entries import acknowledge, silence
from foreshock_dashboard.response.reader import ResponseReader
from foreshock_dashboard.settings.settings import Settings
from foreshock_dashboard.sources.clusters import ClusterSource
from foreshock_dashboard.store import Store
from foreshock_dashboard.store.journal import Journal
from foreshock_dashboard.store.outbox import Outbox
from foreshock_dashboard.store.outbox_file import OutboxFile

START, STEP, MINUTE = 1_800_000_000.0, 10.0, 60.0
SLOW_FROM = START + 40 * MINUTE
PAGED_BY = START + 45 * MINUTE
BOUNDS = ("0.1", "0.25", "0.5", "1", "2.5", "+Inf")
FILE = "json://hub.example.com/ name=hook\n"


def batch(time: float, cluster: str, slow_from: float) -> SampleBatch:
    """Ten requests a second of shop/chat: of 0.25 s at most, and then of 1 to 2.5 s."""
    fast = 10 * (min(time, slow_from) - START)
    every = 10 * (time - START)
    span = {
        "cluster": cluster,
        "service_name": "chat",
        "service_namespace": "shop",
        "span_kind": "SPAN_KIND_SERVER",
        "span_name": "POST /chat",
    }
    duration = "traces_span_metrics_duration_seconds"
    counts = {bound: 0.4 * fast if bound == "0.1" else every if bound in BOUNDS[4:] else fast for bound in BOUNDS}
    samples = [
        Sample("up", labels_of({"cluster": cluster, "job": "chat", "instance": "10.0.0.1:1"}), 1.0),
        Sample("traces_span_metrics_calls_total", labels_of(span), every),
        Sample(f"{duration}_count", labels_of(span), every),
        Sample(f"{duration}_sum", labels_of(span), 0.2 * fast + 1.5 * (every - fast)),
        *(Sample(f"{duration}_bucket", labels_of({**span, "le": bound}), count) for bound, count in counts.items()),
    ]
    return SampleBatch(time, cluster, tuple(samples))


class Platform:
    """A store, a journal, and a channel that outlast the hub over them."""

    def __init__(self, folder: Path) -> None:
        self.now, self._folder, self._written = START, folder, START
        self.store = Store.open(folder / "store", now=lambda: self.now)
        self.journal = Journal(folder, now=lambda: self.now)
        (folder / "channels").write_text(FILE)
        self.settings = Settings(slo=(("shop/chat", 0.5, 0.1),), notify_file=folder / "channels")
        self.start()

    def start(self, labels: tuple[str, ...] = ("cluster",)) -> None:
        """Start a hub."""
        self.identities = Identities(self.journal)
        clock = Clock(wall=lambda: self.now)
        known = KnownClusters(self.journal, labels)
        source = ClusterSource(self.store, labels, known.read(self.now))
        memory = Memory(self.settings.memory_limit)
        inputs = LoopInputs(source, True, None, memory, identities=self.identities, known_clusters=known)
        self.loop = AnalysisLoop(self.settings, clock, inputs)
        self.notifier = notifier(
            self.settings, clock, lambda: OutboxFile(self._folder), Hooks("https://hub.example.com")
        )

    def restart(self, labels: tuple[str, ...] = ("cluster",)) -> None:
        """End the hub, and start another."""
        self.end()
        self.start(labels)

    def end(self) -> None:
        """End the hub."""
        assert self.notifier
        self.notifier.close()

    def close(self) -> None:
        """End all."""
        self.end()
        self.journal.close()
        self.store.close()

    def until(self, end: float, *clusters: str) -> tuple[Incident, ...]:
        """The incidents once the samples of these clusters until a time are evaluated; only eu is slow."""
        while self._written < end:
            self._written += STEP
            never = float("inf")
            self.store.append_samples(
                [batch(self._written, name, SLOW_FROM if name == "eu" else never) for name in clusters]
            )
        self.now = end + 5
        self.loop.evaluate()
        assert not self.loop.snapshot.error
        assert self.notifier
        self.notifier.observe(self.loop.snapshot.incidents, complete=self.loop.snapshot.learning.done)
        self.notifier.plan()
        return self.loop.snapshot.incidents

    def alerts(self) -> list[object]:
        """What identifies the alerts that fire."""
        assert self.notifier
        return [item["labels"] for item in self.notifier.posting().alerts]

    def messages(self) -> list[tuple[str, str]]:
        """The last message about each incident: event, and incident."""
        with closing(Outbox(OutboxFile(self._folder))) as outbox:
            (channel,) = read_channels(self._folder / "channels")
            return [(message.event, message.subject) for message in outbox.messages(channel.key)]


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """A platform."""
    made = Platform(tmp_path)
    yield made
    made.close()


def test_an_incident_stays_the_same_when_a_second_cluster_appears_and_when_none_is_known_any_more(
    platform: Platform,
) -> None:
    """No second page, no end; what people did about it stays. Also after a restart in between."""
    (before,) = platform.until(PAGED_BY, "eu")
    assert (str(before.service), before.severity, before.is_open) == ("shop/chat", "critical", True)
    platform.journal.append("incident", platform.now, "dana", acknowledge(before.id))
    quiet = silence(platform.now, platform.now + 3600.0, service=Service("shop", "chat"))
    platform.journal.append("incident", platform.now, "dana", quiet)
    alerts, messages = platform.alerts(), platform.messages()
    assert [event for event, _ in messages] == ["page"]
    restarts: list[tuple[str, ...] | None] = [None, ("cluster",), ()]
    for number, labels in enumerate(restarts, 1):
        if labels is not None:
            platform.restart(labels)
        (after,) = platform.until(PAGED_BY + number * 2 * MINUTE, "eu", "us")
        assert str(after.service) == ("shop/chat" if labels == () else "eu//shop/chat")
        assert (after.id, after.opened, after.paged, after.is_open) == (before.id, before.opened, before.paged, True)
        assert (platform.alerts(), platform.messages()) == (alerts, messages)
        responses = ResponseReader(platform.journal).current()
        assert responses.of(after.id).acknowledged is not None
        assert responses.silence_of(after, platform.now) is not None


def test_a_restart_while_a_cluster_is_away_changes_no_name(platform: Platform) -> None:
    """All data that is left is of one cluster; the journal knows that there was another one."""
    KnownClusters(platform.journal, ("cluster",)).record({"eu", "us"}, START - 86_400.0)
    platform.restart()
    (incident,) = platform.until(PAGED_BY, "eu")
    assert str(incident.service) == "eu//shop/chat"
    assert [entry.data["cluster"] for entry in platform.journal.read("cluster")] == ["eu", "us", "eu"]
