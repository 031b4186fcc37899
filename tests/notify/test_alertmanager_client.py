"""Requests to Alertmanager, and its answers."""

from __future__ import annotations

import httpx
import pytest

from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.notify.alertmanager import Alertmanager, Suppression

SILENCE = {
    "id": "s1",
    "matchers": [{"name": "incident", "value": "i1", "isRegex": False, "isEqual": True}],
    "startsAt": "2027-01-15T08:00:00.000Z",
    "endsAt": "2027-01-15T09:00:00.000Z",
    "createdBy": "ada",
    "comment": "known",
    "status": {"state": "active"},
}
EXPIRED = {**SILENCE, "id": "s2", "status": {"state": "expired"}}
REGEX = {**SILENCE, "id": "s3", "matchers": [{"name": "service", "value": "llm-.*", "isRegex": True}]}
ALERTS = [
    {"labels": {"incident": "i1"}, "status": {"silencedBy": ["s1", "s3"], "inhibitedBy": []}},
    {"labels": {"incident": "i2"}, "status": {"silencedBy": [], "inhibitedBy": ["f00"]}},
    {"labels": {"incident": "i3"}, "status": {"silencedBy": [], "inhibitedBy": []}},
]


class Fake:
    """Answers as Alertmanager does, and keeps the requests."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """The answer to a request."""
        self.requests.append(request)
        if request.url.path.endswith("/alerts"):
            return httpx.Response(200, json=ALERTS)
        return httpx.Response(200, json=[SILENCE, EXPIRED, REGEX])


def client(fake: Fake) -> Alertmanager:
    """A client of the fake."""
    return Alertmanager("http://am:9093", transport=httpx.MockTransport(fake))


def test_an_incident_is_silenced_until_the_last_silence_ends_or_inhibited() -> None:
    """A silence by a regular expression counts, though it is not listed as one of the hub."""
    peer = client(Fake())
    assert peer.suppressions() == {"i1": Suppression(1800003600.0, False), "i2": Suppression(None, True)}
    assert [(item.id, item.matchers, item.start) for item in peer.silences()] == [("s1", {"incident": "i1"}, 1.8e9)]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (httpx.Response(200, json={"some": "page"}), "check that the URL points to Alertmanager"),
        (httpx.Response(200, text="<html>"), "check that the URL points to Alertmanager"),
        (httpx.Response(401), "returned 401; set the required credentials or tenant with --alertmanager-config"),
        (httpx.Response(503, text="overloaded"), "returned 503: overloaded"),
        (httpx.Response(302, headers={"location": "https://login"}), "redirects to https://login"),
    ],
)
def test_an_answer_that_is_not_understood_is_an_error(answer: httpx.Response, message: str) -> None:
    """With the address and a remedy."""
    peer = Alertmanager("http://am:9093", transport=httpx.MockTransport(lambda _: answer))
    with pytest.raises(SourceError, match=message):
        peer.silences()
