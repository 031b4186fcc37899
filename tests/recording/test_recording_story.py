"""A recorded incident, loaded by promtool into a real Prometheus, tells the same story as the recording itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.recording.conftest import MINUTES

from foreshock_dashboard.common.clock import clock_at
from foreshock_dashboard.hub.hub import Hub
from foreshock_dashboard.replay.recording_hub import open_recording
from foreshock_dashboard.settings.settings import Settings

if TYPE_CHECKING:
    from tests.recording.conftest import Foreshock, Incident

START = 1_767_600_000.0
Json = dict[str, Any]


@contextmanager
def told(settings: Settings) -> Iterator[Callable[[str], Json]]:
    """What a hub over the settings answers to a path."""
    with ExitStack() as opened:
        mine = replace(settings, port=0, otlp_grpc_port=0, otlp_http_port=0)
        found, recording = opened.enter_context(open_recording(mine))
        hub = opened.enter_context(closing(Hub(found, clock_at(found.at), recording=recording)))
        hub.start()
        url = hub.web.url.rstrip("/")
        yield lambda path: dict(httpx.get(url + path, trust_env=False, timeout=60).json())


def story(ask: Callable[[str], Json]) -> Json:
    """Warnings without figures, and the names of everything."""
    warnings = ask("/api/warnings")["warnings"]
    kept = ("id", "phase", "victim", "aggressor", "gpus", "cause", "since", "opened", "slowed")
    contention = ask("/api/contention")
    return {
        "warnings": [{key: warning[key] for key in kept} for warning in warnings],
        "services": sorted(each["service"] for each in ask("/api/services")["services"]),
        "gpus": sorted(each["gpu"] for each in ask("/api/gpus")["gpus"]),
        "pairs": sorted((pair["victim"], pair["aggressor"]) for pair in contention["pairs"]),
    }


def rates(services: list[Json]) -> dict[str, float]:
    """Requests a second, of those that have any."""
    told = {each["service"]: each["requests_per_second"] for each in services}
    return {name: rate for name, rate in told.items() if rate is not None}


@pytest.mark.parametrize("scenario", ["starve", "outage"])
def test_a_prometheus_over_an_incident_tells_the_story_of_the_recording(
    scenario: str,
    incident: Incident,
    tmp_path: Path,
    foreshock: Foreshock,
    promtool: Callable[..., str],
    prometheus_over: Callable[[Path], str],
) -> None:
    """The same warnings on the same GPUs at the same times, services, GPUs and pairs; figures equal to 0.1 %."""
    path = incident(scenario)
    assert foreshock("export", path, "--openmetrics", tmp_path / "out.om") == 0, foreshock.said
    promtool("tsdb", "create-blocks-from", "openmetrics", tmp_path / "out.om", tmp_path / "data")
    at = START + 60.0 * MINUTES[scenario] - 10.0
    window = Settings(at=at, rate_window=59.0, step=10.0, store=tmp_path / "store")
    with told(replace(window, recording=path)) as ours:
        mine, figures = story(ours), ours("/api/services")["services"]
    with told(replace(window, prometheus_url=prometheus_over(tmp_path / "data"))) as theirs:
        other, same = story(theirs), theirs("/api/services")["services"]
    assert mine == other
    assert len(mine["gpus"]) == 8
    assert rates(same) == pytest.approx(rates(figures), rel=1e-3)
    if scenario == "starve":
        assert [(each["victim"], each["aggressor"]) for each in mine["warnings"]] == [
            ("serving/llm-chat", "ml/batch-embed")
        ]
