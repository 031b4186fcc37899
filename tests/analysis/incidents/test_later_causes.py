"""A cause that began after the page did not cause what was paged."""

from __future__ import annotations

from dataclasses import replace

import pytest

from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.incidents.content import _lasting_confidence
from foreshock_dashboard.analysis.incidents.lifecycle import _began_after_page
from foreshock_dashboard.model.incident import Cause, Evidence, Incident, SuspectedCause
from foreshock_dashboard.model.service import Service

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
