"""Delivers the messages of one channel from the outbox, in a dedicated thread: a dead channel delays no other."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

from foreshock_dashboard.common.log_on_change import LogOnChange
from foreshock_dashboard.notify.apprise_sender import DeliveryError, Kind
from foreshock_dashboard.notify.channel_state import ChannelState, Outcome
from foreshock_dashboard.notify.message import after_drop, body_of
from foreshock_dashboard.notify.timing import MessageLimit, Timing, retry_delay
from foreshock_dashboard.render.notification import MessageText
from foreshock_dashboard.store.outbox import Outbox, OutboxMessage

log = logging.getLogger(__name__)

MAX_AGE_SECONDS = 4 * 3600.0
"""Age from which a message that could not be delivered is dropped: it would confuse more than it helps."""
IDLE_SECONDS = 3600.0
"""Longest wait without a message."""
KINDS: dict[str, Kind] = {"resolved": "success", "cause": "info"}


class Sender(Protocol):
    """Sends a message, or raises DeliveryError; see `AppriseSender`."""

    def send(
        self, message: MessageText, kind: Kind, subject: str, picture: Callable[[], bytes | None] = lambda: None
    ) -> None:
        """Send a message."""


class Delivery:
    """Sends the waiting messages of a channel, the oldest first.

    A message counts as sent once the outbox has noted it. A process that is killed in between sends it again: at least
    once, at most twice.

    Args:
        key: of the channel in the outbox.
        picture: the picture of an incident, by its id.
        record: called after each message that was sent or dropped.
        leads: whether this hub, of those that share the outbox, sends.
    """

    def __init__(
        self,
        key: str,
        state: ChannelState,
        sender: Sender,
        outbox: Outbox,
        timing: Timing,
        picture: Callable[[str], bytes | None],
        record: Callable[[OutboxMessage, Outcome], None],
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self.state = state
        self._leads = leads
        self._key, self._sender, self._outbox, self._timing = key, sender, outbox, timing
        self._picture, self._record = picture, record
        self._limit = MessageLimit(timing.monotonic)
        self._log = LogOnChange(log, recovered="messages are delivered again after: {}")
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"notify-{key[:6]}", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def wake(self) -> None:
        """Look for new messages."""
        self._wake.set()

    def stop(self) -> None:
        """Stop after the message that is being sent, for which it waits a second."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(1)

    def waiting(self) -> list[OutboxMessage]:
        """The messages that are to be sent."""
        return [message for message in self._outbox.messages(self._key) if message.waiting]

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            try:
                wait = self.deliver_next()
            except Exception:  # outermost loop: the next round tries again after any failure
                log.exception("channel %s: delivery failed", self.state.name)
                wait = retry_delay(1, self._timing.random)
            self._wake.wait(min(wait, IDLE_SECONDS))

    def deliver_next(self) -> float:
        """Send the next message if one is due; the seconds until there is something to do again."""
        if not self._leads():
            return IDLE_SECONDS
        now = self._timing.now()
        waiting = self.waiting()
        for message in waiting:
            if now - message.at > MAX_AGE_SECONDS and self._outbox.update(message, after_drop(message)):
                self.note_dropped(message)
                return 0.0
        if not waiting:
            return IDLE_SECONDS
        message = min(waiting, key=lambda item: item.not_before)
        if (early := message.not_before - now) > 0:
            return early
        if limited := self._limit.wait():
            return limited
        self._deliver(message)
        return 0.0

    def note_dropped(self, message: OutboxMessage) -> None:
        """Count and record a message that was given up."""
        self.state.dropped()
        self._record(message, "dropped")

    def _deliver(self, message: OutboxMessage) -> None:
        body = body_of(message)
        kind = KINDS.get(message.event) or ("failure" if body.severity == "critical" else "warning")
        try:
            text = MessageText(body.title, body.text)
            self._sender.send(text, kind, body.key, lambda: self._picture(message.subject))
        except Exception as error:  # noqa: BLE001 - any other text, or a traceback, may hold a part of the URL
            reason = str(error) if isinstance(error, DeliveryError) else type(error).__name__
            failures = message.attempts + 1
            retry_at = self._timing.now() + retry_delay(failures, self._timing.random)
            self._outbox.update(message, message._replace(attempts=failures, not_before=retry_at))
            self.state.failed(self._timing.now(), reason)
            self._log.update(f"channel {self.state.name}: {reason}")
            return
        self._outbox.update(message, message._replace(waiting=False))
        self.state.sent(self._timing.now())
        self._record(message, "sent")
        self._log.update("")
