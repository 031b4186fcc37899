"""Owner, tier, and links of a service: from a file, then from labels of metrics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.model.query import Matrix, MetricSource, Query, SourceError
from foreshock_dashboard.model.samples import labels_of
from foreshock_dashboard.model.service import Ownership, Service
from foreshock_dashboard.owners.directory import OwnerDirectory

CHAT = Service("serving", "llm-chat")
FILE = """
services:
  serving/llm-chat:
    owner: team-chat
    tier: gold
    links: {runbook: "https://wiki.example/chat"}
  embedder: {owner: team-search}
"""


class Labels(MetricSource):
    """A source with series of value 1."""

    def __init__(self, **series: list[dict[str, str]]) -> None:
        self._series = series
        self.error, self.failing = "", ""

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """The series of a metric."""
        if self.error and self.failing in query.metric:
            raise SourceError(self.error)
        times = np.arange(start, end + step / 2, step)
        return Matrix.of(times, {labels_of(row): np.ones(len(times)) for row in self._series.get(query.metric, [])})

    def metric_names(self) -> frozenset[str]:
        """All metrics."""
        return frozenset(self._series)


def owners(source: MetricSource, path: Path | None = None) -> OwnerDirectory:
    """The owners that a hub knows after reading the labels."""
    directory = OwnerDirectory(path)
    directory.refresh(source, 1000.0)
    return directory


def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "services.yml"
    path.write_text(FILE)
    known = OwnerDirectory(path)
    assert known.of(CHAT) == Ownership("team-chat", "gold", (("runbook", "https://wiki.example/chat"),))
    assert known.of(Service("search", "embedder")).owner == "team-search"
    assert known.of(Service("other", "llm-chat")) == Ownership()
    path.write_text("services: {serving/llm-chat: {owner: team-new}}")
    assert known.of(CHAT).owner == "team-new"
    path.write_text("services: [")
    assert known.of(CHAT).owner == "team-new", "an unusable version changes nothing"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("services: [", "cannot be used"),
        ("- a", "services to owner"),
        ("services: {a: {owner: b}}\nother: 1", "other"),
        ("services: {a: {boss: b}}", "services a boss"),
        ("services: {a: {owner: [b]}}", "services a owner"),
        ("services: {a: {links: {x: 'javascript:alert(1)'}}}", "is not an http or https URL"),
        ('services: {a: {owner: "b\\u001b[2J"}}', "control characters"),
        ("services: {'x/': {owner: b}}", "has no name"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_with_the_place(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "services.yml"
    path.write_text(text)
    with pytest.raises(FileError, match=problem):
        OwnerDirectory(path)


@pytest.mark.parametrize(
    ("metric", "labels", "service"),
    [
        ("service_owner_info", {"service_name": "llm-chat", "service_namespace": "serving", "owner": "a"}, CHAT),
        ("kube_deployment_labels", {"namespace": "serving", "deployment": "llm-chat", "label_team": "a"}, CHAT),
        ("kube_pod_labels", {"namespace": "serving", "pod": "llm-chat-6d5f9c7b8d-x2x9z", "label_owner": "a"}, CHAT),
        ("kube_pod_labels", {"namespace": "serving", "pod": "llm-chat-0", "label_owner": "a"}, CHAT),
        ("kube_pod_labels", {"namespace": "serving", "pod": "p-1", "label_app": "llm-chat", "label_owner": "a"}, CHAT),
    ],
)
def test_labels_name_the_owner(metric: str, labels: dict[str, str], service: Service) -> None:
    assert owners(Labels(**{metric: [labels]})).of(service).owner == "a"


def test_the_file_comes_first_then_the_info_metric_then_labels_of_kubernetes(tmp_path: Path) -> None:
    path = tmp_path / "services.yml"
    path.write_text("services: {serving/llm-chat: {owner: of-file}}")
    info = {"service_name": "llm-chat", "service_namespace": "serving", "owner": "of-metric", "tier": "silver"}
    pod = {"namespace": "serving", "pod": "llm-chat-0", "label_owner": "of-pod", "label_tier": "of-pod"}
    source = Labels(service_owner_info=[info], kube_pod_labels=[pod])
    assert owners(source).of(CHAT) == Ownership("of-metric", "silver")
    assert owners(source, path).of(CHAT) == Ownership("of-file", "silver")


def test_links_of_labels_are_http_only_and_texts_are_bounded() -> None:
    links = {"link_wiki": "https://wiki.example/", "link_bad": "javascript:alert(1)", "link_empty": ""}
    info = {"service_name": "a", "owner": "x" * 1000, "tier": "b\nc", **links}
    assert owners(Labels(service_owner_info=[info])).of(Service("", "a")) == Ownership(
        links=(("wiki", "https://wiki.example/"),)
    )


def test_a_source_that_fails_leaves_the_known_owners() -> None:
    source = Labels(service_owner_info=[{"service_name": "a", "owner": "b"}])
    known = owners(source)
    source.error = "down"
    known.refresh(source, 1060.0)
    assert known.of(Service("", "a")).owner == "b"


def test_a_metric_that_cannot_be_read_keeps_its_owners_and_costs_those_of_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log says it once."""
    pods = [{"namespace": "", "pod": "c-0", "label_owner": "d"}]
    source = Labels(service_owner_info=[{"service_name": "a", "owner": "b"}])
    known = owners(source)
    source._series["kube_pod_labels"] = pods
    source.error, source.failing = "too many series", "service_owner_info"
    for time in (1060.0, 1120.0):
        known.refresh(source, time)
    assert (known.of(Service("", "a")).owner, known.of(Service("", "c")).owner) == ("b", "d")
    [line] = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "service_owner_info" in line
