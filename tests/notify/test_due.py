"""Which message is due."""

from __future__ import annotations

import pytest
from tests.notify.incidents import BATCH, NOW, incident, resolved, warning

from foreshock_dashboard.model.incident import Incident, Summary, SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.notify.due import MIN_UPDATE_SECONDS, Event, Sent, cause_of, due

SAME = cause_of(incident())
OTHER = SuspectedCause(Service("ml", "train"))
PAGED = Sent("page", "critical", NOW - MIN_UPDATE_SECONDS, SAME)
WARNED = Sent("early_warning", "warning", NOW - MIN_UPDATE_SECONDS, SAME)


@pytest.mark.parametrize(
    ("state", "last", "early", "event"),
    [
        pytest.param(incident(), None, False, "page", id="an incident that pages opens"),
        pytest.param(incident(), PAGED, False, None, id="it was sent"),
        pytest.param(warning(), None, False, None, id="an early warning is not wanted"),
        pytest.param(warning(), None, True, "early_warning", id="an early warning is wanted"),
        pytest.param(warning(summary=Summary(latent=True)), None, True, None, id="a latent risk has not lasted"),
        pytest.param(warning(), WARNED, True, None, id="the early warning was sent"),
        pytest.param(incident(), WARNED, True, "page", id="an early warning escalates"),
        pytest.param(incident(suspect=OTHER), PAGED, False, "cause", id="the suspected cause changes"),
        pytest.param(
            incident(suspect=OTHER), PAGED._replace(at=NOW - 10), False, None, id="the cause changes again at once"
        ),
        pytest.param(
            incident(),
            PAGED._replace(cause=cause_of(incident(confidence=0.3))),
            False,
            "cause",
            id="the cause becomes known",
        ),
        pytest.param(incident(suspect=OTHER, confidence=0.3), PAGED, False, None, id="the new cause is a guess"),
        pytest.param(
            incident(suspect=OTHER), PAGED._replace(delivered=False), False, "page", id="the page waits: renew its text"
        ),
        pytest.param(resolved(), PAGED, False, "resolved", id="the incident ends"),
        pytest.param(resolved(), None, False, None, id="an end of what was never sent"),
        pytest.param(resolved(), PAGED._replace(event="resolved"), False, None, id="the end was sent"),
        pytest.param(incident(), PAGED._replace(event="resolved"), False, "page", id="it is back after it was gone"),
        pytest.param(incident(state="recovering"), None, False, None, id="it recovers before the channel existed"),
        pytest.param(incident(suspect=SuspectedCause(BATCH)), PAGED, False, None, id="only the GPUs are corrected"),
    ],
)
def test_the_message_follows_from_the_incident_and_what_was_sent(
    state: Incident, last: Sent | None, early: bool, event: Event | None
) -> None:
    """Opening, escalation, cause, and resolution; each once."""
    assert due(state, last, NOW, early=early, muted=False) == event


@pytest.mark.parametrize(
    ("state", "last", "event"),
    [
        pytest.param(incident(), None, None, id="nothing opens"),
        pytest.param(incident(), WARNED, None, id="nothing escalates"),
        pytest.param(incident(suspect=OTHER), PAGED, None, id="no cause"),
        pytest.param(resolved(), PAGED, "resolved", id="a page that was sent is closed"),
    ],
)
def test_a_muted_incident_sends_nothing_new(state: Incident, last: Sent | None, event: Event | None) -> None:
    """Silences and maintenance stop all but the end of what was sent."""
    assert due(state, last, NOW, early=True, muted=True) == event
