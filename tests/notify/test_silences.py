"""Silences of muted incidents in an Alertmanager that may refuse them, on clocks that are stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from tests.notify.incidents import NOW

from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.notify.alert_poster import AlertPoster, Posting
from foreshock_dashboard.notify.alertmanager import Alertmanager, Silence, Suppression
from foreshock_dashboard.notify.due import Mute
from foreshock_dashboard.notify.timing import Timing

WALL = NOW + 7200.0
"""Time of Alertmanager: the platform is simulated."""
SPEED = 10.0


class Fake(Alertmanager):
    """Keeps silences and alerts. refused: incidents whose silences it refuses."""

    def __init__(self, *known: Silence) -> None:
        super().__init__("http://am:9093")
        self.known = list(known)
        self.refused: set[str] = set()
        self.posted: list[Sequence[Json]] = []

    def post(self, alerts: Sequence[Json]) -> None:
        self.posted.append(alerts)

    def silences(self) -> tuple[Silence, ...]:
        return tuple(self.known)

    def create_silence(self, matchers: Mapping[str, str], start: float, end: float, by: str, comment: str) -> str:
        if matchers["incident"] in self.refused:
            raise SourceError("refused")
        self.known.append(Silence(f"s{len(self.known)}", matchers, start, end, by, comment))
        return self.known[-1].id

    def expire_silence(self, silence_id: str) -> None:
        self.known = [item for item in self.known if item.id != silence_id]

    def suppressions(self) -> Mapping[str, Suppression]:
        return {"i1": Suppression(WALL + 60, inhibited=False), "i2": Suppression(None, inhibited=True)}


class Silencing:
    """A peer whose alerts and mutes the test sets."""

    def __init__(self, *known: Silence) -> None:
        self.fake, self.mutes, self.now = Fake(*known), dict[str, Mute](), NOW
        timing = Timing(lambda: self.now, lambda: self.now, lambda: 1.0, lambda: WALL, SPEED)
        self.peer = AlertPoster(self.fake, lambda: Posting([{}]), lambda: self.mutes, timing)


def silence(name: str, by: str, end: float = WALL + 60.0, incident: str = "i1") -> Silence:
    """A silence of an incident."""
    return Silence(name, {"incident": incident}, WALL - 60, end, by, "")


def test_a_silence_that_is_refused_stops_neither_the_alerts_nor_other_silences() -> None:
    """It is shown, and tried again."""
    at = Silencing()
    at.mutes = {"bad": Mute(NOW + 600), "i1": Mute(NOW + 600, "ada")}
    at.fake.refused = {"bad"}
    assert not at.peer.post()
    assert at.fake.posted == [[{}]]
    assert (at.peer.state.stats().error, at.peer.state.stats().last_success) == ("refused", NOW)
    assert [item.matchers["incident"] for item in at.fake.known] == ["i1"]
    at.fake.refused.clear()
    assert at.peer.post()
    assert at.peer.state.stats().error == ""
    assert [item.matchers["incident"] for item in at.fake.known] == ["i1", "bad"]


def test_mutes_that_cannot_be_read_end_no_silence_and_stop_no_alert(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are kept in a journal."""
    at = Silencing()
    at.mutes = {"i1": Mute(NOW + 600)}
    at.peer.post()
    monkeypatch.setattr(at.peer, "_mutes", lambda: 1 / 0)
    assert not at.peer.post()
    assert (len(at.fake.posted), len(at.fake.known)) == (2, 1)


def test_times_are_those_of_each_clock() -> None:
    """An hour of a platform that is simulated at ten times the speed is six minutes."""
    at = Silencing()
    at.mutes = {"i1": Mute(NOW + 3600)}
    for _ in range(2):
        at.peer.post()
    assert [(item.start, item.end) for item in at.fake.known] == [(WALL, WALL + 360)]
    assert at.peer.suppressions == {
        "i1": Suppression(NOW + 600, inhibited=False),
        "i2": Suppression(None, inhibited=True),
    }


def test_the_silence_of_a_mute_ends_when_the_mute_does() -> None:
    """Else the page shows it as another, longer one."""
    at = Silencing()
    at.mutes = {"i1": Mute(NOW + 599.3)}
    at.peer.post()
    assert at.peer.suppressions["i1"].silenced_until == NOW + 599.3


def test_all_silences_of_hubs_end_after_a_restart_and_no_other() -> None:
    """In a cluster each peer's thread may have made one. Names that only begin alike are others."""
    others = (silence("o1", "foreshock-ops"), silence("o2", "ada"), silence("o3", "foreshock ada", incident="i2"))
    at = Silencing(silence("a", "foreshock ada"), silence("b", "foreshock"), *others)
    at.mutes = {"i1": Mute(NOW + 600, "ada")}
    at.peer.post()
    assert len(at.fake.known) == 5
    at.mutes = {}
    at.peer.post()
    assert tuple(at.fake.known) == others


def test_a_silence_that_is_shortened_ends_earlier() -> None:
    """The longer one is ended once the other is there."""
    at = Silencing()
    for until in (NOW + 600, NOW + 300):
        at.mutes = {"i1": Mute(until)}
        at.peer.post()
    assert [item.end for item in at.fake.known] == [WALL + 30]
