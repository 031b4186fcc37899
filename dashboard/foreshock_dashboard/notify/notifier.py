"""Notifications of a hub: takes the incidents of each evaluation, and keeps Alertmanagers and channels informed."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from foreshock_dashboard.common.reloading_file import ReloadingFile
from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.incident import Incident, Severity
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.notify import shortages
from foreshock_dashboard.notify.alert_poster import VALID_SECONDS, AlertPoster, Posting
from foreshock_dashboard.notify.alertmanager import Alertmanager, Suppression
from foreshock_dashboard.notify.alerts import alert_labels, alerts
from foreshock_dashboard.notify.apprise_sender import AppriseSender
from foreshock_dashboard.notify.channel_state import ChannelState, ChannelStats, Outcome
from foreshock_dashboard.notify.channels import Channel, read_channels
from foreshock_dashboard.notify.delivery import Delivery
from foreshock_dashboard.notify.due import Event, Mute, alert_event, cause_of, due
from foreshock_dashboard.notify.message import MessageBody, body_of, sent
from foreshock_dashboard.notify.shortages import Reader
from foreshock_dashboard.notify.slow_burn_groups import PREFIX, group_body
from foreshock_dashboard.notify.slow_burns import due_messages
from foreshock_dashboard.notify.timing import Timing
from foreshock_dashboard.render.notification import gone_message, open_message, resolved_message
from foreshock_dashboard.settings.working_hours import DEFAULT, WorkingHours
from foreshock_dashboard.store import StoreError
from foreshock_dashboard.store.outbox import Outbox, OutboxMessage

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""Wall-clock time between two looks at the file of channels without an evaluation."""
KEEP_RESOLVED_SECONDS, KEEP_SECONDS = 86_400.0, 30 * 86_400.0
"""Age from which the outbox forgets a message about a resolved, or any, incident. An open slow burn has none."""
MAX_MESSAGES = 1000
"""Messages of one channel in the outbox; the oldest are dropped."""
ALERTMANAGER = "Alertmanager"
"""Name of all Alertmanagers together in the journal, and their channel in the outbox: no key of another channel."""
CAPACITY = "capacity forecast"
"""Stands for an incident in the log, where messages of capacity fail."""
CAPACITY_PREFIXES = shortages.PREFIX, PREFIX
"""Beginnings of subjects in the outbox that are no incidents."""
TITLE_KINDS: dict[Event, str] = {"early_warning": "warning", "page": "critical", "cause": "update"}


class Hooks(NamedTuple):
    """What the notifier takes from the hub.

    base: URL of the hub for links. owner: of a service, "" if unknown. muted: why an incident does not notify at a
    time (Unix seconds), if so. picture: PNG of an incident, by its id. record: takes what was sent, for the
    journal (Unix seconds, data). forecast: that of capacity; None without a current one. services_by_host: those
    on its GPUs. silences_capacity: whether a silence covers a service, or a pool (None), at a time. working_hours: for
    which messages of capacity wait. leads: whether this hub, of those that share an outbox, sends messages.
    """

    base: str
    owner: Callable[[Service], str] = lambda _: ""
    muted: Callable[[Incident, float], Mute | None] = lambda _, __: None
    picture: Callable[[str], bytes | None] = lambda _: None
    record: Callable[[float, Json], None] = lambda _, __: None
    forecast: Callable[[], CapacityForecast | None] = lambda: None
    services_by_host: Callable[[], Mapping[str, Set[Service]]] = dict
    silences_capacity: Callable[[Service | None, float], bool] = lambda _, __: False
    working_hours: WorkingHours = WorkingHours.parse(DEFAULT)
    leads: Callable[[], bool] = lambda: True


class Notifier:
    """Posts alerts and delivers messages, each receiver in a dedicated thread; evaluations never wait for one.

    Args:
        file: channels, see `channels`; read again when it changes.
        early_alerts: whether Alertmanagers get early warnings.

    Raises:
        FileError: the file cannot be used.
    """

    def __init__(
        self,
        outbox: Outbox,
        file: Path | None,
        alertmanagers: Sequence[Alertmanager],
        timing: Timing,
        hooks: Hooks,
        *,
        early_alerts: bool = False,
    ) -> None:
        self.alertmanagers = tuple(alertmanagers)
        self._early_alerts = early_alerts
        self._outbox, self._timing, self._hooks = outbox, timing, hooks
        self._incidents: tuple[Incident, ...] | None = None
        self._complete = False
        self._sends = hooks.leads()
        self._led = self._sends and not outbox.error
        self._alert_keys: list[object] = []
        self._accepted_lock = threading.Lock()
        self._labels: dict[tuple[str, Severity], Mapping[str, str]] = {}
        self._failing: set[tuple[str, str]] = set()
        self._deliveries: dict[str, tuple[Channel, Delivery]] = {}
        self._peers = [
            AlertPoster(item, self.posting, self.mutes, timing, self._accepted) for item in self.alertmanagers
        ]
        self._file = ReloadingFile([file], lambda: _senders(file), "the previous channels stay") if file else None
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="notify", daemon=True)
        self._open_channels()

    def start(self) -> None:
        """Begin to deliver."""
        for peer in self._peers:
            peer.start()
        for _, delivery in self._deliveries.values():
            delivery.start()
        self._thread.start()

    def close(self) -> None:
        """Stop; what is not delivered stays in the outbox."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(5)
        for _, delivery in self._deliveries.values():
            delivery.stop()
        for peer in self._peers:
            peer.close()
        self._outbox.close()

    def observe(self, incidents: tuple[Incident, ...], *, complete: bool) -> None:
        """Take the incidents of an evaluation, and return at once.

        complete: whether these are all there are, so that one that is missing is over.
        """
        self._incidents, self._complete = incidents, complete
        self._wake.set()

    def stats(self) -> tuple[ChannelStats, ...]:
        """Deliveries by receiver: Alertmanagers, then channels as in the file."""
        deliveries = [delivery for _, delivery in list(self._deliveries.values())]
        return (
            *(peer.state.stats() for peer in self._peers),
            *(delivery.state.stats(len(delivery.waiting())) for delivery in deliveries),
        )

    def suppressions(self) -> dict[str, Suppression]:
        """Incidents that an Alertmanager silences or inhibits, by id."""
        return {key: value for peer in self._peers for key, value in peer.suppressions.items()}

    def silenced_until(self) -> dict[str, float | None]:
        """Ends of Alertmanager's silences by incident, those of the hub among them; None for one that it inhibits."""
        return {key: item.silenced_until for key, item in self.suppressions().items()}

    def posting(self) -> Posting:
        """The alerts as of now, and whom they notify about."""
        timing, base, now = self._timing, self._hooks.base, self._timing.now()
        listed, notified = list[Json](), list[Incident]()
        for incident in self._incidents or ():
            with self._isolated(ALERTMANAGER, incident.id):
                found = alerts(
                    (incident,), now, timing.to_wall, VALID_SECONDS, base, self._first_labels, early=self._early_alerts
                )
                listed += found
                if found and not (incident.is_open and self._hooks.muted(incident, now)):
                    notified.append(incident)
        return Posting(listed, notified, now)

    def _first_labels(self, incident: Incident, severity: Severity) -> Mapping[str, str]:
        """The labels with which an alert first fired: others would be another alert, and so page again."""
        key = incident.id, severity
        return self._labels.get(key) or self._labels.setdefault(
            key, alert_labels(incident, severity, self._hooks.owner)
        )

    def _accepted(self, posting: Posting) -> None:
        """Record the first time that an Alertmanager accepts each alert of an incident, and its end: once, also across
        restarts."""
        now = self._timing.now()
        for incident in posting.notified if self._hooks.leads() else ():
            with self._accepted_lock, self._isolated(ALERTMANAGER, incident.id):
                last = self._outbox.get(ALERTMANAGER, incident.id)
                if last is not None and last.at > posting.at:
                    continue  # a slow peer accepts what another one knows better
                if event := alert_event(incident, last and last.event):
                    body = MessageBody(
                        service=str(incident.service),
                        severity=incident.severity,
                        cause=cause_of(incident),
                        title="",
                        text="",
                        key=incident.id,
                    ).model_dump_json()
                    self._outbox.put(OutboxMessage(ALERTMANAGER, incident.id, event, posting.at, body, waiting=False))
                    self._hooks.record(now, _entry(incident.id, ALERTMANAGER, event, "sent"))

    @contextmanager
    def _isolated(self, receiver: str, incident_id: str) -> Iterator[None]:
        """An error stops only this incident on this receiver; it is logged until it has passed, once."""
        key = receiver, incident_id
        try:
            yield
            self._failing.discard(key)
        except Exception:
            if key not in self._failing:
                what = incident_id if incident_id == CAPACITY else f"incident {incident_id or '(any)'}"
                log.exception("%s: %s: notifications failed", receiver, what)
            self._failing.add(key)

    def mutes(self) -> dict[str, Mute]:
        """The open incidents that are muted now, by id."""
        now, found = self._timing.now(), dict[str, Mute]()
        for incident in self._incidents or ():
            with self._isolated("silences", incident.id):
                if incident.is_open and (mute := self._hooks.muted(incident, now)):
                    found[incident.id] = mute
        return found

    @property
    def problem(self) -> str:
        """Why messages are not durable; "" if they are."""
        return self._outbox.error

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(LOOK_SECONDS)
            self._wake.clear()
            try:
                self.plan()
            except Exception:  # outermost loop: the next evaluation tries again after any failure
                log.exception("notifications could not be scheduled")

    def plan(self) -> None:
        """Put what is due into the outbox, and wake those that deliver it."""
        if self._file and self._file.reload():
            self._open_channels(start=True)
        leads = self._take_turn()
        incidents = self._incidents
        if incidents is None or self._stop.is_set():
            return
        known = {incident.id for incident in incidents}
        self._failing -= {key for key in list(self._failing) if key[1] not in {"", CAPACITY, *known}}
        for key in [key for key in list(self._labels) if key[0] not in known]:
            self._labels.pop(key, None)
        if leads:
            self._plan_messages(incidents)
        keys: list[object] = [(item.id, item.severity, item.is_open, cause_of(item)) for item in incidents]
        keys += self.mutes().items()
        if keys != self._alert_keys:
            self._alert_keys = keys
            for peer in self._peers:
                peer.wake()

    def _take_turn(self) -> bool:
        """Whether this hub sends messages. Before it begins to, and while it does not, it reads those of another."""
        leads, is_read = self._hooks.leads(), True
        if not (self._led and leads):
            try:
                self._outbox.read_again()
            except StoreError as error:
                log.debug("messages of other hubs cannot be read: %s", error)  # Status shows it
                is_read = False
        begins = leads and not self._sends
        self._sends, self._led = leads, leads and is_read
        if begins:
            for _, delivery in self._deliveries.values():
                delivery.wake()
        return leads

    def _may_send(self) -> bool:
        return self._sends and self._hooks.leads()

    def _plan_messages(self, incidents: Sequence[Incident]) -> None:
        now, hooks = self._timing.now(), self._hooks
        open_ids = {item.id for item in incidents if item.is_open}
        forecast = hooks.forecast()
        reader = Reader(
            hooks.working_hours,
            hooks.base,
            hooks.owner,
            lambda service: hooks.silences_capacity(service, now),
            hooks.services_by_host() if forecast and forecast.slow_burns else {},
        )
        for channel, delivery in self._deliveries.values():
            with self._isolated(channel.name, ""):
                self._put(self._due(channel, incidents, now), delivery)
            with self._isolated(channel.name, CAPACITY):
                if forecast is not None:
                    self._put([*_capacity_messages(channel, self._outbox, forecast, now, reader)], delivery)
            with self._isolated(channel.name, ""):
                self._forget(channel.key, open_ids, now, delivery.note_dropped)
        self._forget(ALERTMANAGER, open_ids, now)

    def _put(self, messages: Sequence[OutboxMessage], delivery: Delivery) -> None:
        if messages:
            self._outbox.put(*messages)
            delivery.wake()

    def _due(self, channel: Channel, incidents: Sequence[Incident], now: float) -> list[OutboxMessage]:
        """The messages that are due on a channel."""
        known = {incident.id for incident in incidents}
        messages = []
        gone = [
            message
            for message in self._outbox.messages(channel.key)
            if self._complete
            and message.subject not in known
            and message.event != "resolved"
            and not message.subject.startswith(CAPACITY_PREFIXES)
        ]
        for incident in incidents:
            with self._isolated(channel.name, incident.id):
                if message := self._due_message(channel, incident, gone, now):
                    messages.append(message)
        for message in gone:
            body = body_of(message)
            text = gone_message(body.service, message.subject, self._hooks.base)
            body = body.model_copy(update=text._asdict())
            messages.append(OutboxMessage(channel.key, message.subject, "resolved", now, body.model_dump_json()))
        return messages

    def _due_message(
        self, channel: Channel, incident: Incident, gone: list[OutboxMessage], now: float
    ) -> OutboxMessage | None:
        """The message about an incident that is due on a channel.

        gone: those about incidents that are no longer reported; the one that this incident continues is taken out.
        """
        hooks = self._hooks
        owner = hooks.owner(incident.service)
        last = self._outbox.get(channel.key, incident.id)
        accepted = channel.accepts(incident.service, owner)
        if not accepted and last is None:
            return None
        if last is None and incident.is_open and (same := _same_service(gone, incident)):
            # After a restart, an incident that is older than the analyzed history has the time of another opening.
            gone.remove(same)
            last = same._replace(subject=incident.id)
            self._outbox.put(last, instead_of=[same.key])
        muted = not accepted or (incident.is_open and hooks.muted(incident, now) is not None)
        known = None if last is None else sent(last)
        event = due(incident, known, now, early=channel.severity == "warning", muted=muted)
        if event is None:
            return None
        if event == "resolved":
            text = resolved_message(incident, hooks.base)
        else:
            text = open_message(incident, TITLE_KINDS[event], hooks.base, owner)
        body = MessageBody(
            service=str(incident.service),
            severity=incident.severity,
            cause=cause_of(incident),
            title=text.title,
            text=text.text,
            key=incident.id if last is None else body_of(last).key,
        )
        return OutboxMessage(channel.key, incident.id, event, now, body.model_dump_json())

    def _forget(
        self, key: str, open_ids: set[str], now: float, dropped: Callable[[OutboxMessage], None] = lambda _: None
    ) -> None:
        """Bound the outbox, but for open incidents: they would be notified again. So would slow burns, however old."""
        messages = self._outbox.messages(key)
        spare = [message for message in messages if message.subject not in open_ids]
        old = [item for item in spare if now - item.at > _keep_seconds(item) and not item.waiting]
        spare.sort(key=lambda item: item.event != "resolved" or item.waiting)  # what is over first; stable
        excess = spare[: max(0, len(messages) - MAX_MESSAGES)]
        for message in excess:
            if message.waiting:
                dropped(message)
        self._outbox.remove(message.key for message in (*old, *excess))

    def _open_channels(self, *, start: bool = False) -> None:
        """Begin to deliver to new channels of the file, and stop for those that are no longer in it."""
        senders = self._file.value if self._file else ()
        wanted = {channel.key: (channel, sender) for channel, sender in senders}
        for key in self._deliveries.keys() - wanted.keys():
            self._deliveries.pop(key)[1].stop()
        deliveries = {}
        for key, (channel, sender) in wanted.items():
            if key in self._deliveries:
                delivery = self._deliveries[key][1]
                delivery.state.rename(channel.name)  # a line before it may be gone
            else:
                if unreadable := [item.key for item in self._outbox.messages(key) if not _is_readable(item)]:
                    log.warning("channel %s: %d messages cannot be read; forgotten", channel.name, len(unreadable))
                    self._outbox.remove(unreadable)
                state, hooks = ChannelState(channel.name, channel.schema), self._hooks
                record = _recorder(state, hooks, self._timing)
                delivery = Delivery(
                    key, state, sender, self._outbox, self._timing, hooks.picture, record, self._may_send
                )
                if start:
                    delivery.start()
            deliveries[key] = channel, delivery
        self._deliveries = deliveries


def _capacity_messages(
    channel: Channel, outbox: Outbox, forecast: CapacityForecast, now: float, reader: Reader
) -> Iterator[OutboxMessage]:
    if forecast.loads:
        yield from shortages.due_messages(channel, outbox, forecast.shortages, now, reader)
    yield from due_messages(channel, outbox, forecast, now, reader)


def _keep_seconds(message: OutboxMessage) -> float:
    """Age from which a message may be forgotten. That of an open slow burn is older than any incident's may be."""
    if message.event == "resolved":
        return KEEP_RESOLVED_SECONDS
    return math.inf if message.subject.startswith(PREFIX) else KEEP_SECONDS


def _senders(path: Path) -> tuple[tuple[Channel, AppriseSender], ...]:
    return tuple((channel, AppriseSender(channel, path)) for channel in read_channels(path))


def _is_readable(message: OutboxMessage) -> bool:
    try:
        sent(message)
        if message.subject.startswith(PREFIX):
            group_body(message)
    except ValueError:
        return False
    return True


def _same_service(messages: Sequence[OutboxMessage], incident: Incident) -> OutboxMessage | None:
    """The message about an incident of the same service, then maybe without its cluster, with the same severity."""
    for message in messages:
        body = body_of(message)
        service = Service.parse(body.service)
        is_same = service.means(incident.service) or incident.service.means(service)
        if is_same and body.severity == incident.severity:
            return message
    return None


def _recorder(state: ChannelState, hooks: Hooks, timing: Timing) -> Callable[[OutboxMessage, Outcome], None]:
    """Records the deliveries of a channel."""

    def record(message: OutboxMessage, outcome: Outcome) -> None:
        hooks.record(timing.now(), _entry(message.subject, state.name, message.event, outcome))

    return record


def _entry(incident_id: str, channel: str, event: str, outcome: str) -> Json:
    """What the journal keeps of a message."""
    return {"incident": incident_id, "channel": channel, "event": event, "outcome": outcome}
