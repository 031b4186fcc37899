"""A real Prometheus with a recorded incident gives the same analysis as the recording."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.conftest import INCIDENT_MINUTES, soak

from foreshock_dashboard.common.clock import clock_at
from foreshock_dashboard.hub.hub import Hub
from foreshock_dashboard.replay.recording_hub import open_recording
from foreshock_dashboard.settings.settings import Settings

if TYPE_CHECKING:
    from tests.conftest import Incident
    from tests.recording.conftest import Foreshock

START = 1_767_600_000.0
Json = dict[str, Any]


@contextmanager
def running_hub(settings: Settings) -> Iterator[Callable[[str], Json]]:
    """Give a function that returns a hub's JSON for a path."""
    with ExitStack() as opened:
        own = replace(settings, port=0, otlp_grpc_port=0, otlp_http_port=0)
        complete, recording = opened.enter_context(open_recording(own))
        hub = opened.enter_context(closing(Hub(complete, clock_at(complete.at), recording=recording)))
        hub.start()
        url = hub.web.url.rstrip("/")
        yield lambda path: dict(httpx.get(url + path, trust_env=False, timeout=60).json())


def story(ask: Callable[[str], Json]) -> Json:
    """Warnings without figures, and the names of all entities."""
    incidents = ask("/api/incidents?state=open")["incidents"]
    fields = ("id", "severity", "state", "service", "suspect", "cause", "since", "opened", "affected")
    contention = ask("/api/contention")
    return {
        "incidents": [{key: incident[key] for key in fields} for incident in incidents],
        "services": sorted(each["service"] for each in ask("/api/services")["services"]),
        "gpus": sorted(each["gpu"] for each in ask("/api/gpus")["gpus"]),
        "pairs": sorted((pair["victim"], pair["aggressor"]) for pair in contention["pairs"]),
    }


def request_rates(services: list[Json]) -> dict[str, float]:
    """Requests per second, by service."""
    rates = {each["service"]: each["requests_per_second"] for each in services}
    return {name: rate for name, rate in rates.items() if rate is not None}


@pytest.mark.parametrize("scenario", ["starve", *soak("outage")])
def test_prometheus_with_a_recorded_incident_gives_the_same_analysis(
    scenario: str,
    incident: Incident,
    tmp_path: Path,
    foreshock: Foreshock,
    promtool: Callable[..., str],
    prometheus_over: Callable[[Path], str],
) -> None:
    """Equal incidents, services, GPUs and pairs; figures equal to 0.1%."""
    path = incident(scenario)
    assert foreshock("recording", "export", path, "--openmetrics", tmp_path / "out.om") == 0, foreshock.said
    promtool("tsdb", "create-blocks-from", "openmetrics", tmp_path / "out.om", tmp_path / "data")
    at = START + 60.0 * INCIDENT_MINUTES[scenario] - 10.0
    window = Settings(at=at, rate_window=59.0, evaluation_interval=10.0, store_path=tmp_path / "store")
    with running_hub(replace(window, recording=path)) as ours:
        analysis, figures = story(ours), ours("/api/services")["services"]
    with running_hub(replace(window, prometheus_url=prometheus_over(tmp_path / "data"))) as theirs:
        other, same = story(theirs), theirs("/api/services")["services"]
    assert analysis == other
    assert len(analysis["gpus"]) == 8
    assert request_rates(same) == pytest.approx(request_rates(figures), rel=1e-3)
    if scenario == "starve":
        assert [(each["service"], each["suspect"]["service"]) for each in analysis["incidents"]] == [
            ("serving/llm-chat", "ml/batch-embed")
        ]
