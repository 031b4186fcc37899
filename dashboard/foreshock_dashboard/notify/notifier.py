"""Notifications of a hub: takes the incidents of each evaluation, and keeps Alertmanagers and channels informed."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from foreshock_dashboard.common.reloading_file import ReloadingFile
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.notify.alertmanager import Alertmanager, Suppression
from foreshock_dashboard.notify.alerts import alerts
from foreshock_dashboard.notify.apprise_sender import AppriseSender
from foreshock_dashboard.notify.channel_state import ChannelState, ChannelStats, Outcome
from foreshock_dashboard.notify.channels import Channel, read_channels
from foreshock_dashboard.notify.delivery import Delivery
from foreshock_dashboard.notify.due import Event, Sent, cause_of, due
from foreshock_dashboard.notify.peer import VALID_SECONDS, Mute, Peer, Timing
from foreshock_dashboard.render.notification import MessageText, gone_message, open_message, resolved_message
from foreshock_dashboard.store.outbox import Outbox, OutboxMessage

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""Wall-clock time between two looks at the file of channels without an evaluation."""
KEEP_RESOLVED_SECONDS, KEEP_SECONDS = 86_400.0, 30 * 86_400.0
"""Age from which the outbox forgets a message about a resolved, or any, incident."""
MAX_MESSAGES = 1000
"""Messages of one channel in the outbox; the oldest are dropped."""
TITLE_KINDS: dict[Event, str] = {"early_warning": "warning", "page": "critical", "cause": "update"}


class Hooks(NamedTuple):
    """What the notifier takes from the hub.

    base: URL of the hub for links. owner: of a service, "" if unknown. muted: why an incident does not notify at a
    time (Unix seconds), if so. picture: PNG of an incident, by its id. record: takes what was sent, for the
    journal (Unix seconds, data).
    """

    base: str
    owner: Callable[[Service], str] = lambda _: ""
    muted: Callable[[Incident, float], Mute | None] = lambda _, __: None
    picture: Callable[[str], bytes | None] = lambda _: None
    record: Callable[[float, Json], None] = lambda _, __: None


class Notifier:
    """Posts alerts and delivers messages, each receiver in a dedicated thread; evaluations never wait for one.

    Args:
        file: channels, see `channels`; read again when it changes.
        wall: Unix seconds of Alertmanager, where `timing` has those of a simulated platform.

    Raises:
        FileError: the file cannot be used.
    """

    def __init__(
        self,
        outbox: Outbox,
        file: Path | None,
        alertmanagers: Sequence[Alertmanager],
        timing: Timing,
        wall: Callable[[], float],
        hooks: Hooks,
    ) -> None:
        self.alertmanagers = tuple(alertmanagers)
        self._outbox, self._timing, self._wall, self._hooks = outbox, timing, wall, hooks
        self._incidents: tuple[Incident, ...] | None = None
        self._complete = False
        self._alert_keys: list[object] = []
        self._owners: dict[str, str] = {}
        self._deliveries: dict[str, tuple[Channel, Delivery]] = {}
        self._peers = [Peer(item, self.alerts, self.mutes, timing) for item in self.alertmanagers]
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

    def silenced_until(self) -> dict[str, float]:
        """Ends of Alertmanager's silences by incident, those of the hub among them."""
        return {
            key: item.silenced_until for key, item in self.suppressions().items() if item.silenced_until is not None
        }

    def alerts(self) -> list[Json]:
        """The alerts as of now."""
        hooks, now = self._hooks, self._timing.now()
        return alerts(self._incidents or (), now, self._wall(), VALID_SECONDS, hooks.base, self._first_owner)

    def _first_owner(self, incident: Incident) -> str:
        """The owner when the incident was first seen: another label would be another alert, and so page again."""
        return self._owners.setdefault(incident.id, self._hooks.owner(incident.service))

    def mutes(self) -> dict[str, Mute]:
        """The open incidents that are muted now, by id."""
        now = self._timing.now()
        muted = ((item.id, self._hooks.muted(item, now)) for item in self._incidents or () if item.is_open)
        return {key: mute for key, mute in muted if mute is not None}

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
                log.exception("notifications could not be planned")

    def plan(self) -> None:
        """Put what is due into the outbox, and wake those that deliver it."""
        if self._file and self._file.reload():
            self._open_channels(start=True)
        incidents = self._incidents
        if incidents is None or self._stop.is_set():
            return
        known = {incident.id for incident in incidents}
        for key in [key for key in list(self._owners) if key not in known]:
            self._owners.pop(key, None)
        now = self._timing.now()
        for channel, delivery in self._deliveries.values():
            if messages := self._due(channel, incidents, now):
                self._outbox.put(*messages)
                delivery.wake()
            self._forget(channel.key, delivery.state, now)
        keys: list[object] = [(item.id, item.severity, item.is_open, cause_of(item)) for item in incidents]
        keys += self.mutes().items()
        if keys != self._alert_keys:
            self._alert_keys = keys
            for peer in self._peers:
                peer.wake()

    def _due(self, channel: Channel, incidents: Sequence[Incident], now: float) -> list[OutboxMessage]:
        """The messages that are due on a channel."""
        hooks = self._hooks
        known = {incident.id for incident in incidents}
        messages = []
        gone = [
            message
            for message in self._outbox.messages(channel.key)
            if self._complete and message.subject not in known and message.event != "resolved"
        ]
        for incident in incidents:
            owner = hooks.owner(incident.service)
            last = self._outbox.get(channel.key, incident.id)
            accepted = channel.accepts(incident.service, owner)
            if not accepted and last is None:
                continue
            if last is None and incident.is_open and (same := _same_service(gone, incident)):
                # After a restart, an incident that is older than the analyzed history has the time of another opening.
                gone.remove(same)
                last = same._replace(subject=incident.id)
                self._outbox.put(last)
                self._outbox.remove([same.key])
            sent = None if last is None else _sent(last)
            muted = not accepted or (incident.is_open and hooks.muted(incident, now) is not None)
            event = due(incident, sent, now, early=channel.severity == "warning", muted=muted)
            if event == "resolved":
                text = resolved_message(incident, hooks.base)
            elif event is not None:
                text = open_message(incident, TITLE_KINDS[event], hooks.base, owner)
            if event is not None:
                messages.append(_message(channel, incident.id, event, now, incident, text))
        for message in gone:
            body = json.loads(message.body)
            text = gone_message(body["service"], message.subject, hooks.base)
            body |= {"title": text.title, "text": text.text}
            messages.append(OutboxMessage(channel.key, message.subject, "resolved", now, json.dumps(body)))
        return messages

    def _forget(self, key: str, state: ChannelState, now: float) -> None:
        """Bound the outbox."""
        messages = self._outbox.messages(key)
        limits = {"resolved": KEEP_RESOLVED_SECONDS}
        old = [item for item in messages if now - item.at > limits.get(item.event, KEEP_SECONDS) and not item.waiting]
        excess = messages[: max(0, len(messages) - MAX_MESSAGES)]
        for message in excess:
            if message.waiting:
                state.dropped()
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
            else:
                state = ChannelState(channel.name, channel.schema)
                record = _recorder(channel.name, self._hooks, self._timing)
                delivery = Delivery(key, state, sender, self._outbox, self._timing, self._hooks.picture, record)
                if start:
                    delivery.start()
            deliveries[key] = channel, delivery
        self._deliveries = deliveries


def _senders(path: Path) -> tuple[tuple[Channel, AppriseSender], ...]:
    return tuple((channel, AppriseSender(channel, path)) for channel in read_channels(path))


def _sent(message: OutboxMessage) -> Sent:
    body = json.loads(message.body)
    return Sent(cast("Event", message.event), body["severity"], message.at, body["cause"], not message.waiting)


def _same_service(messages: Sequence[OutboxMessage], incident: Incident) -> OutboxMessage | None:
    """The message about an incident of the same service with the same severity."""
    for message in messages:
        body = json.loads(message.body)
        if (body["service"], body["severity"]) == (str(incident.service), incident.severity):
            return message
    return None


def _message(
    channel: Channel, subject: str, event: Event, now: float, incident: Incident, text: MessageText
) -> OutboxMessage:
    body = {
        "service": str(incident.service),
        "severity": incident.severity,
        "cause": cause_of(incident),
        "title": text.title,
        "text": text.text,
    }
    return OutboxMessage(channel.key, subject, event, now, json.dumps(body))


def _recorder(name: str, hooks: Hooks, timing: Timing) -> Callable[[OutboxMessage, Outcome], None]:
    """Records the deliveries of a channel."""

    def record(message: OutboxMessage, outcome: Outcome) -> None:
        data = {"incident": message.subject, "channel": name, "event": message.event, "outcome": outcome}
        hooks.record(timing.now(), data)

    return record
