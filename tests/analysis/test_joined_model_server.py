"""An overloaded model server is one incident, whose spans and whose metrics come from different places."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.world.scraped import Page, world_scraped

from foreshock_dashboard.analysis.incidents.lifecycle import State, advance
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service

MODEL = Service("bed", "model")
SURGE_SECONDS, END_SECONDS = 2100.0, 2400.0
BOUNDS = (0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0)
PLACE = 'foreshock_service_address_spans_total{service_name="model",service_namespace="bed",server_address="gpu-1",'


def counts(t: float) -> tuple[float, float]:
    """Requests so far, of 0.25 s each, and of 4 s each: five a second, and twelve during the surge."""
    wobble = 0.3 * (t // 10 % 3)
    return 5 * min(t, SURGE_SECONDS) + wobble, 12 * max(0.0, t - SURGE_SECONDS)


def histogram(name: str, labels: str, t: float) -> str:
    """A histogram of both kinds of requests."""
    quick, slow = counts(t)
    lines = [
        f'{name}_bucket{{{labels},le="{bound}"}} {quick * (bound > 0.25) + slow * (bound > 4)}' for bound in BOUNDS
    ]
    return "\n".join(
        (
            *lines,
            f'{name}_bucket{{{labels},le="+Inf"}} {quick + slow}',
            f"{name}_sum{{{labels}}} {0.25 * quick + 4 * slow}",
            f"{name}_count{{{labels}}} {quick + slow}",
        )
    )


def spans(place: str) -> Page:
    """The series of spans of a gateway that calls a model server."""

    def page(t: float) -> str:
        pages = [f"{PLACE}{place}}} {t}"] if place else []
        for name in ("gateway", "model"):
            labels = (
                f'service_name="{name}",service_namespace="bed",span_name="POST",span_kind="SPAN_KIND_SERVER",'
                'status_code="STATUS_CODE_UNSET"'
            )
            pages += [
                f"traces_span_metrics_calls_total{{{labels}}} {sum(counts(t))}",
                histogram("traces_span_metrics_duration_seconds", labels, t),
            ]
        edge = 'client="gateway",client_service_namespace="bed",server="model",server_service_namespace="bed"'
        pages.append(f"traces_service_graph_request_total{{{edge}}} {sum(counts(t))}")
        pages += [histogram(f"traces_service_graph_request_{side}_seconds", edge, t) for side in ("client", "server")]
        return "\n".join(pages)

    return page


def vllm(t: float) -> str:
    """The model server, whose queue grows in the surge."""
    surging, labels = t > SURGE_SECONDS, 'model_name="bed-7b"'
    return "\n".join(
        (
            f"vllm:num_requests_running{{{labels}}} {4 if surging else 1}",
            f"vllm:num_requests_waiting{{{labels}}} {60 if surging else 0}",
            f"vllm:request_success_total{{{labels}}} {sum(counts(t))}",
            *(
                histogram(f"vllm:{name}_seconds", labels, t)
                for name in ("e2e_request_latency", "request_queue_time", "time_to_first_token")
            ),
        )
    )


def incidents(folder: Path, place: str) -> tuple[Incident, ...]:
    """All incidents of the World that the two pages make."""
    world = world_scraped(folder, {("foreshock", "hub"): spans(place), ("vllm", "gpu-1:8000"): vllm}, END_SECONDS)
    state = State()
    for at in range(len(world.times)):
        state = advance(state, world, at, {})
    return state.incidents


@pytest.mark.parametrize(
    ("place", "cause", "shows_queue"),
    [('server_port="8000"', "overload", True), ("", "dependency", False)],
    ids=["joined", "unjoined"],
)
def test_the_queue_of_a_model_server_explains_its_latency_once_they_are_one_service(
    tmp_path: Path, place: str, cause: str, shows_queue: bool
) -> None:
    """One incident, named after the service, not after the model; unjoined, its queue is missing from it."""
    (incident,) = incidents(tmp_path, place)
    assert incident.service == MODEL
    assert incident.cause == cause
    queued = [item for item in incident.evidence if item.name == "queued requests"]
    assert [str(item.entity) for item in queued] == ["bed/model"] * shows_queue
    assert "bed-7b" not in str(incident)
