"""Delivery from the outbox: order, retries, limits, and age, on a stopped clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.notify.incidents import BATCH, CHAT, NOW, incident, resolved, warning
from tests.notify.slow_burns import burn

from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.incident import Incident, SuspectedCause
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.notify import notifier as notifier_module
from foreshock_dashboard.notify.alert_poster import AlertPoster
from foreshock_dashboard.notify.alertmanager import Alertmanager, Suppression
from foreshock_dashboard.notify.apprise_sender import DeliveryError, Kind
from foreshock_dashboard.notify.channels import Channel
from foreshock_dashboard.notify.delivery import MAX_AGE_SECONDS
from foreshock_dashboard.notify.due import Mute
from foreshock_dashboard.notify.notifier import KEEP_RESOLVED_SECONDS, Hooks, Notifier
from foreshock_dashboard.notify.timing import (
    BURST_MESSAGES,
    FIRST_DELAY_SECONDS,
    MAX_DELAY_SECONDS,
    REFILL_SECONDS,
    MessageLimit,
    Timing,
    retry_delay,
)
from foreshock_dashboard.render.notification import MessageText
from foreshock_dashboard.settings.working_hours import WorkingHours
from foreshock_dashboard.store.outbox import Outbox, OutboxMessage
from foreshock_dashboard.store.outbox_file import OutboxFile

SIGNS = {"failure": "critical", "warning": "warning", "info": "update", "success": "resolved"}


class Hub:
    """The notifier of a hub on a stopped clock, whose channel is a list. Its threads do not run."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.sent, self.error = NOW, list[str](), ""
        self.recorded: list[Json] = []
        self.muted, self.owner = False, "team-a"
        self.forecast: CapacityForecast | None = None
        self._folder = folder
        self._file = folder / "channels"
        self._file.write_text("json://hub severity=warning")
        monkeypatch.setattr(notifier_module, "AppriseSender", lambda *_: self)
        self.start()

    def start(self) -> None:
        """Start, as a new process does."""
        hooks = Hooks(
            "https://hub",
            owner=lambda _: self.owner,
            muted=lambda *_: Mute(NOW + 1e6) if self.muted else None,
            record=lambda _, data: self.recorded.append(data),
            forecast=lambda: self.forecast,
            working_hours=WorkingHours.parse("Mon-Sun 00:00-23:59 UTC"),
        )
        self.timing = Timing(lambda: self.now, lambda: self.now, lambda: 1.0, lambda: self.now)
        self.outbox = Outbox(OutboxFile(self._folder))
        self.notifier = Notifier(self.outbox, self._file, (), self.timing, hooks, early_alerts=True)
        ((_, self.delivery),) = self.notifier._deliveries.values()

    def restart(self) -> None:
        """End without a word, and start again."""
        self.notifier.close()
        self.start()

    def send(self, message: MessageText, kind: Kind, subject: str, picture: Callable[[], bytes | None]) -> None:
        """Take a message, as a sender does."""
        assert picture() is None
        if self.error:
            raise DeliveryError(self.error)
        assert message.title.startswith(f"[{SIGNS[kind]}] ")
        self.sent.append(f"{SIGNS[kind]} {subject}")

    def evaluate(self, *incidents: Incident, complete: bool = True) -> None:
        """Plan, and deliver until there is nothing to do at this time."""
        self.notifier.observe(incidents, complete=complete)
        self.notifier.plan()
        while self.delivery.deliver_next() == 0.0:
            pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub."""
    made = Hub(tmp_path, monkeypatch)
    yield made
    made.notifier.close()


OTHER = SuspectedCause(CHAT._replace(name="train"))


def test_an_incident_is_sent_from_early_warning_to_its_end_once_each_across_restarts(hub: Hub) -> None:
    """Each message once, however often it is evaluated and whenever the hub restarts."""
    name = incident().id
    for state in (warning(), incident(), incident(suspect=OTHER), resolved(suspect=OTHER)):
        hub.now += 400
        for _ in range(2):
            hub.evaluate(state)
            hub.restart()
            hub.evaluate(state)
    assert hub.sent == [f"warning {name}", f"critical {name}", f"update {name}", f"resolved {name}"]
    assert [(item["event"], item["outcome"]) for item in hub.recorded] == [
        ("early_warning", "sent"), ("page", "sent"), ("cause", "sent"), ("resolved", "sent"),
    ]  # fmt: skip


def test_a_slow_burn_is_sent_once_without_an_incident_and_stops_none(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    """Across restarts, until there is a forecast again. One that cannot be sent leaves incidents alone."""
    full = replace(burn("5 10:00"), at=NOW + 86_400.0)
    hub.forecast = CapacityForecast(NOW, slow_burns=(full,))
    for _ in range(2):
        hub.evaluate()
        hub.restart()
    hub.forecast = None
    hub.evaluate()
    (sent,) = hub.sent
    assert sent.startswith("warning slow burn host host-3")
    hub.forecast = CapacityForecast(NOW, slow_burns=(replace(full, kind="unknown", host="host-4"),))  # type: ignore[arg-type]
    hub.evaluate(incident())
    hub.evaluate(incident())
    assert hub.sent[1:] == [f"critical {incident().id}"]
    assert caplog.messages == ["json: capacity forecast: notifications failed"]


def test_a_slow_burn_that_stays_for_months_is_announced_once(hub: Hub) -> None:
    """What the outbox forgets would be announced again, or never end. Incidents are forgotten after 30 days."""
    full = replace(burn("5 10:00"), at=NOW + 86_400.0, latest=math.inf)
    hub.forecast = CapacityForecast(NOW, slow_burns=(full,))
    for _ in range(3):
        hub.evaluate()
        hub.now += 31 * 86_400
        full = replace(full, at=full.at + 31 * 86_400)
        hub.forecast = CapacityForecast(hub.now, slow_burns=(full,))
    assert len(hub.sent) == 1


def test_a_failed_message_is_repeated_ever_more_rarely(hub: Hub) -> None:
    """Until it is accepted; meanwhile Status shows why."""
    hub.error = "refused"
    hub.evaluate(incident())
    first = hub.now
    hub.now += FIRST_DELAY_SECONDS - 1
    hub.evaluate(incident())
    (stats,) = hub.notifier.stats()
    assert (stats.outcomes["failed"], stats.waiting, stats.error) == (1, 1, "refused")
    hub.now = first + FIRST_DELAY_SECONDS
    hub.evaluate(incident())
    assert hub.delivery.deliver_next() == 2 * FIRST_DELAY_SECONDS
    hub.error = ""
    hub.now += 2 * FIRST_DELAY_SECONDS
    hub.restart()
    hub.evaluate(incident())
    assert hub.sent == [f"critical {incident().id}"]


def test_what_waits_is_replaced_by_what_is_newer(hub: Hub) -> None:
    """A receiver that was down learns the end alone."""
    hub.error = "refused"
    hub.evaluate(incident())
    hub.error = ""
    hub.evaluate(resolved())
    assert hub.sent == [f"resolved {incident().id}"]


def test_a_message_that_is_too_old_is_dropped_and_counted(hub: Hub) -> None:
    """A page of this morning confuses in the evening."""
    hub.error = "refused"
    hub.evaluate(incident())
    hub.now += MAX_AGE_SECONDS + 1
    hub.error = ""
    hub.evaluate(incident())
    (stats,) = hub.notifier.stats()
    assert (hub.sent, stats.outcomes["dropped"], stats.waiting) == ([], 1, 0)
    assert hub.recorded[-1]["outcome"] == "dropped"
    hub.evaluate(incident())
    assert hub.sent == [f"critical {incident().id}"]


def test_the_end_is_sent_to_a_receiver_that_missed_the_page_after_the_early_warning(hub: Hub) -> None:
    """It shows the early warning until then."""
    hub.evaluate(warning())
    hub.error = "refused"
    hub.evaluate(incident())
    hub.now += MAX_AGE_SECONDS + 1
    hub.evaluate(incident())
    hub.error = ""
    hub.evaluate(resolved())
    assert hub.sent == [f"warning {incident().id}", f"resolved {incident().id}"]


def test_a_message_or_incident_that_cannot_be_read_stops_no_other(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once."""
    key = Channel("json", "json", "json://hub", 1).key
    page = OutboxMessage(key, incident().id, "page", NOW, "{}")
    hub.outbox.put(page, page._replace(subject="other", body="no JSON"), page._replace(subject="third", event="new"))
    hub.restart()
    bad = incident(id="bad", actions=(None,))
    for _ in range(2):
        hub.evaluate(bad, incident())
    assert hub.sent == [f"critical {incident().id}"]
    assert len(hub.notifier.posting().alerts) == 2
    assert [record.message for record in caplog.records] == [
        "channel json: 3 messages cannot be read; forgotten",
        "json: incident bad: notifications failed",
        "Alertmanager: incident bad: notifications failed",
    ]


def test_labels_stay_as_they_were_when_the_alert_first_fired(hub: Hub) -> None:
    """Also the owner, and the service of an incident that does not say which one it had; until it is over."""
    hub.evaluate(warning())
    (first,) = hub.notifier.posting().alerts
    hub.owner = "team-b"
    hub.evaluate(warning(service=BATCH, first_service=CHAT))
    (second,) = hub.notifier.posting().alerts
    hub.evaluate(incident(service=BATCH))
    ended, page = hub.notifier.posting().alerts
    assert first["labels"] == second["labels"] == ended["labels"]
    assert (first["labels"]["owner"], page["labels"]["owner"]) == ("team-a", "team-b")
    assert page["labels"]["origin"] == "ml/batch-embed"
    hub.evaluate()
    hub.evaluate(warning())
    assert hub.notifier.posting().alerts[0]["labels"]["owner"] == "team-b"


class Receiver(Alertmanager):
    """Accepts alerts; meanwhile something else happens."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        super().__init__("http://am:9093")
        self._meanwhile = meanwhile

    def post(self, alerts: Sequence[Json]) -> None:
        assert alerts
        self._meanwhile()

    def suppressions(self) -> Mapping[str, Suppression]:
        return {}


@pytest.mark.parametrize(
    ("severities", "events"),
    [
        ("warning critical warning critical", "early_warning page"),
        ("critical warning critical", "page"),
        ("warning resolved warning", "early_warning resolved early_warning"),
        ("resolved", ""),
    ],
)
def test_each_alert_that_alertmanager_accepts_is_recorded_once(hub: Hub, severities: str, events: str) -> None:
    """An incident that paged and is a warning again for a while does not page again."""
    states = {"warning": warning(), "critical": incident(), "resolved": resolved()}
    peer = AlertPoster(Receiver(), hub.notifier.posting, hub.notifier.mutes, hub.timing, hub.notifier._accepted)
    for severity in severities.split():
        hub.notifier.observe((states[severity],), complete=True)
        assert peer.post()
    assert [item["event"] for item in hub.recorded] == events.split()


def test_only_what_was_posted_is_recorded_as_sent(hub: Hub) -> None:
    """No incident that began during the post, none whose alert failed, and no muted one before it notifies."""
    late, bad = incident(id="late"), incident(id="bad", actions=(None,))
    receiver = Receiver(lambda: hub.notifier.observe((incident(), bad, late), complete=True))
    peer = AlertPoster(receiver, hub.notifier.posting, hub.notifier.mutes, hub.timing, hub.notifier._accepted)
    hub.notifier.observe((incident(), bad), complete=True)
    hub.muted = True
    assert len(hub.notifier.posting().alerts) == 2
    hub.notifier._accepted(hub.notifier.posting())
    assert hub.recorded == []
    hub.muted = False
    peer.post()
    assert [item["incident"] for item in hub.recorded] == [incident().id]


def test_a_slow_alertmanager_that_accepts_the_page_after_the_end_records_no_other_page(hub: Hub) -> None:
    hub.evaluate(incident())
    page = hub.notifier.posting()
    hub.notifier._accepted(page)
    hub.now += 60
    hub.evaluate(resolved())
    hub.notifier._accepted(hub.notifier.posting())
    hub.notifier._accepted(page)
    events = [item["event"] for item in hub.recorded if item["channel"] == "Alertmanager"]
    assert events == ["page", "resolved"]


def test_names_stay_different_when_lines_of_the_file_move(hub: Hub) -> None:
    """The second one becomes the first, and the new one the second."""
    for lines in ("json://hub\njson://b", "json://b\njson://c"):
        hub._file.write_text(lines)
        assert hub.notifier._file
        hub.notifier._file.reload()
        hub.notifier._open_channels()
    assert [item.name for item in hub.notifier.stats()] == ["json", "json-2"]
    _, delivery = hub.notifier._deliveries[Channel("json", "json", "json://b", 1).key]
    hub.notifier.observe((incident(),), complete=True)
    hub.notifier.plan()
    delivery.deliver_next()
    assert hub.recorded[-1]["channel"] == "json"


def test_many_incidents_at_once_are_limited_and_none_is_lost(hub: Hub) -> None:
    """A service limits senders, and so does a reader."""
    many = [incident(id=f"i{number:02}") for number in range(BURST_MESSAGES + 2)]
    hub.evaluate(*many)
    assert len(hub.sent) == BURST_MESSAGES
    hub.now += 2 * REFILL_SECONDS
    hub.evaluate(*many)
    assert sorted(hub.sent) == [f"critical {item.id}" for item in many]


def test_an_incident_that_is_no_longer_reported_is_resolved(hub: Hub) -> None:
    """Else its page stays open; but not while the hub does not know all incidents yet."""
    hub.evaluate(incident())
    hub.restart()
    hub.evaluate(complete=False)
    assert len(hub.sent) == 1
    hub.evaluate()
    assert hub.sent == [f"critical {incident().id}", f"resolved {incident().id}"]


def test_an_incident_that_has_another_opening_time_after_a_restart_is_not_sent_again(hub: Hub) -> None:
    """The analysis begins at most three hours back, so an older incident opens later than it did.

    A pager knows it by its first ID.
    """
    hub.evaluate(incident())
    hub.restart()
    hub.evaluate(incident(id="later"))
    hub.evaluate(resolved(id="later"))
    assert hub.sent == [f"critical {incident().id}", f"resolved {incident().id}"]
    assert [item["incident"] for item in hub.recorded] == [incident().id, "later"]


def test_a_muted_incident_is_sent_once_it_no_longer_is(hub: Hub) -> None:
    """A silence ends, and the incident goes on."""
    hub.muted = True
    hub.evaluate(incident())
    assert hub.sent == []
    hub.muted = False
    hub.evaluate(incident())
    assert hub.sent == [f"critical {incident().id}"]


def test_an_incident_that_a_changed_filter_leaves_out_is_still_resolved(hub: Hub) -> None:
    """Its page was sent."""
    hub.evaluate(incident())
    (hub._folder / "channels").write_text("json://hub severity=warning service=other")
    hub.restart()
    hub.evaluate(incident(suspect=OTHER))
    hub.evaluate(resolved(), incident(id="new"))
    assert hub.sent == [f"critical {incident().id}", f"resolved {incident().id}"]


def test_the_outbox_forgets_resolved_incidents(hub: Hub) -> None:
    """It is bounded."""
    hub.evaluate(incident())
    hub.evaluate(resolved())
    hub.now += KEEP_RESOLVED_SECONDS + 1
    hub.evaluate()
    assert hub.outbox.messages(Channel("json", "json", "json://hub", 1).key) == ()


def test_no_open_incident_is_forgotten_however_many_there_were(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would page again. What is over goes first."""
    monkeypatch.setattr(notifier_module, "MAX_MESSAGES", 2)
    hub.evaluate(incident(id="old"))
    hub.now += 1
    hub.evaluate(incident(id="old"), incident(id="b"))
    hub.evaluate(incident(id="old"), resolved(id="b"))
    hub.restart()
    hub.evaluate(resolved(id="b"), incident(id="c"), complete=False)  # not all are known yet
    for _ in range(2):
        hub.evaluate(incident(id="old"), incident(id="c"), incident(id="d"))
    assert hub.sent == [f"critical {name}" for name in ("old", "b")] + ["resolved b", "critical c", "critical d"]
    assert {item.subject for item in hub.outbox.messages(Channel("json", "json", "json://hub", 1).key)} == {
        "old", "c", "d",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("failures", "chance", "seconds"),
    [(1, 1.0, FIRST_DELAY_SECONDS), (1, 0.0, FIRST_DELAY_SECONDS / 2), (3, 1.0, 20.0), (99, 1.0, MAX_DELAY_SECONDS)],
)
def test_the_delay_doubles_up_to_a_limit_with_jitter(failures: int, chance: float, seconds: float) -> None:
    """Half of it is by chance."""
    assert retry_delay(failures, lambda: chance) == seconds


def test_a_rate_limit_admits_a_burst_and_then_one_per_interval() -> None:
    """A token bucket."""
    now = 100.0
    limit = MessageLimit(lambda: now)
    assert [limit.wait() for _ in range(BURST_MESSAGES)] == [0.0] * BURST_MESSAGES
    assert limit.wait() == REFILL_SECONDS
    now += REFILL_SECONDS
    assert limit.wait() == 0.0
    assert limit.wait() == REFILL_SECONDS
