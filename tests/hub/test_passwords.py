"""Passwords in addresses stay out of what the hub and the commands show."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.test_docs import VITALS

from foreshock_dashboard.cli.source import Source
from foreshock_dashboard.hub.status import data_sources, status_json
from foreshock_dashboard.settings.settings import Settings, SettingsError
from foreshock_dashboard.sources.prometheus.scrape import ScrapeState
from foreshock_dashboard.sources.prometheus.target import ScrapeTarget


def test_the_status_shows_targets_without_their_passwords() -> None:
    """Every reader of the page can read it."""
    state = ScrapeState(ScrapeTarget("http://ada:secret@host-1:10877/metrics", "gpu"))
    body = status_json(replace(VITALS, scrapes=(state,)))
    assert body["scrapes"][0]["url"] == "http://host-1:10877/metrics"
    assert "secret" not in json.dumps(body)


def test_the_status_has_the_names_of_metrics_and_options() -> None:
    """Counters by what they count, durations with their unit, settings as their option."""
    target = ScrapeTarget("http://host-1:10877/metrics", "gpu", {"cluster": "eu"})
    last = ScrapeState(target, last=VITALS.time - 5.0)
    body = status_json(replace(VITALS, scrapes=(last,), cluster_labels=("k8s_cluster_name", "cluster")))
    accepted, refused = {"accepted_spans", "accepted_data_points"}, {"refused_spans", "refused_data_points"}
    assert body["receiver"].keys() == {"requests", "refused_requests", *accepted, *refused}
    assert body["scrapes"][0]["cluster"] == "eu"
    assert (body["scrapes"][0]["age_seconds"], "duration_seconds" in body["scrapes"][0]) == (5.0, True)
    assert {"retention_metrics", "retention_traces"} <= data_sources(Settings(), 4317, 4318).keys()
    sources = data_sources(Settings(prometheus_url="http://p:9090"), 4317, 4318, 7)
    assert sources["metrics"] == "Prometheus http://p:9090, with 7 recording rules"


def test_a_command_refuses_a_password_in_the_address_without_quoting_it() -> None:
    """The message may be pasted into a ticket."""
    with pytest.raises(
        SettingsError, match=r"http://127\.0\.0\.1:1' contains credentials, .* Use --http-config"
    ) as error:
        Source("http://ada:secret@127.0.0.1:1")
    assert "secret" not in str(error.value)
