"""A cause that began after the page did not cause what was paged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.analysis.conftest import last_state
from tests.analysis.platforms import START

from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.incidents.content import _lasting_confidence
from foreshock_dashboard.analysis.incidents.lifecycle import _began_after_page
from foreshock_dashboard.model.incident import Cause, Evidence, Incident, SuspectedCause
from foreshock_dashboard.model.service import Service

Platforms = Any
CHAT = Service("serving", "chat")
PAGED = Incident("i", "critical", "firing", "gpu_contention", CHAT, 0.0, opened=60.0, paged=100.0)


@pytest.mark.parametrize(
    ("begins", "service", "paged", "is_later"),
    [
        pytest.param((160.0, 200.0), CHAT, 100.0, True, id="replicas are missing since after the page"),
        pytest.param((40.0, 200.0), CHAT, 100.0, False, id="one sign of it is from before"),
        pytest.param((float("nan"),), CHAT, 100.0, False, id="unknown since when"),
        pytest.param((), CHAT, 100.0, False, id="no detector finds it"),
        pytest.param((160.0,), Service("serving", "search"), 100.0, False, id="another service: other trouble"),
        pytest.param((160.0,), CHAT, None, False, id="not paged yet: a correction"),
    ],
)
def test_a_cause_that_began_after_the_page_explains_its_tail_at_most(
    begins: tuple[float, ...], service: Service, paged: float | None, is_later: bool
) -> None:
    """A backlog for example, although the latency that it shows rose before the page."""
    before = replace(PAGED, paged=paged)
    slow = Evidence("p95 latency", 9.0, 1.0, "s", 40.0, "chat")
    after = replace(before, cause="scale_up_lag", service=service, evidence=(slow,))
    findings = [Finding(service, "scale_up_lag", after.suspect, 0.9, 2.0, since, (slow,), ()) for since in begins]
    other = Finding(CHAT, "gpu_contention", SuspectedCause(Service("ml", "batch")), 0.9, 2.0, 40.0, (slow,), ())
    assert _began_after_page(before, after, [other, *findings]) is is_later


@pytest.mark.parametrize(
    ("paged", "cause", "confidence"),
    [
        pytest.param(100.0, "gpu_contention", 0.95, id="the neighbor was stopped: it was the cause all the same"),
        pytest.param(None, "gpu_contention", 0.25, id="not paged yet: still in doubt"),
        pytest.param(100.0, "scale_up_lag", 0.25, id="another cause"),
    ],
)
def test_the_confidence_in_what_was_paged_does_not_fall_when_the_cause_ends(
    paged: float | None, cause: Cause, confidence: float
) -> None:
    before = replace(PAGED, paged=paged, confidence=0.95)
    assert _lasting_confidence(before, (CHAT, cause, before.suspect.service), 0.25) == confidence


@pytest.mark.parametrize(
    ("throttled", "neighbor", "cause"),
    [
        pytest.param(range(305, 420), range(240, 300), "hardware", id="the neighbor has gone: it is disproved"),
        pytest.param(range(305, 330), range(240, 300), "gpu_contention", id="its tail only"),
        pytest.param(range(305, 420), range(240, 420), "gpu_contention", id="the neighbor is still there"),
    ],
)
def test_a_later_cause_replaces_what_was_paged_once_nothing_supports_that(
    platforms: Platforms, throttled: range, neighbor: range, cause: Cause
) -> None:
    """A batch job takes GPU time, then the GPU of the same service is throttled."""

    def course(before: float, after: float) -> Callable[[int], float]:
        return lambda i: after if i in neighbor else before

    platform = platforms.Platform(
        points=420,
        services={"llm": platforms.Served(p95=lambda i: 1.5 if i in neighbor or i in throttled else 0.5)},
        busy={(1, "llm"): course(0.6, 0.3), (1, "batch"): course(0.2, 0.7)},
        gpu_wait={(1, "llm", "batch"): course(0.02, 0.6)},
        clock={1: lambda i: 0.4 if i in throttled else 1.0},
    )
    (incident,) = last_state(platform.world()).incidents
    assert incident.paged is not None
    assert incident.paged < START + 10 * throttled[0]
    assert incident.cause == cause
