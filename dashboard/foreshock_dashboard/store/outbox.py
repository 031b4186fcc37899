"""The outbox: messages to be delivered, each durable before it is sent."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Protocol

from foreshock_dashboard.common.log_on_change import LogOnChange
from foreshock_dashboard.store.blocks.disk import StoreError

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""Channel and subject."""


class OutboxMessage(NamedTuple):
    """The newest message of a subject on a channel; it replaces an older one, delivered or not.

    at: Unix seconds of the event. body: JSON. waiting: not delivered or given up yet. attempts: failed ones.
    not_before: Unix seconds of the next attempt.
    """

    channel: str
    subject: str
    event: str
    at: float
    body: str
    waiting: bool = True
    attempts: int = 0
    not_before: float = 0.0

    @property
    def key(self) -> Key:
        """What there is one message of."""
        return self.channel, self.subject


class Messages(Protocol):
    """Where the messages are durable."""

    def read(self) -> list[OutboxMessage]:
        """All messages by time. Raises StoreError."""

    def write(self, messages: Mapping[Key, OutboxMessage | None]) -> None:
        """Write messages, and delete those that are None, all or none of them. Raises StoreError."""

    def close(self) -> None:
        """Release what it holds."""


class Outbox:
    """Messages in memory, and where they are durable. Thread-safe.

    A message that cannot be written stays in memory, is delivered from there, and is written with the next one: a full
    disk must not silence a page.

    error: why the last read or write failed; "" after a success.
    """

    def __init__(self, durable: Messages) -> None:
        self.error = ""
        self._durable = durable
        self._lock = threading.Lock()
        self._unsaved: set[Key] = set()
        self._closed = False
        self._log = LogOnChange(log, logging.ERROR, "outbox: writable again")
        self._messages: dict[Key, OutboxMessage] = {}
        try:
            self.read_again()
        except StoreError as error:
            self.error = f"{error}; messages may be sent again"
            self._log.update(self.error)

    def close(self) -> None:
        """Close. What a delivery in progress notes afterwards is not kept."""
        with self._lock:
            self._closed = True
            self._durable.close()

    def read_again(self) -> None:
        """Take the messages as another hub has written them; those that could not be written stay, unless newer exist.

        Raises:
            StoreError: they cannot be read; nothing has changed.
        """
        with self._lock:
            found = {message.key: message for message in self._durable.read()}
            unsaved = [self._messages[key] for key in self._unsaved if key in self._messages]
            own = {item.key: item for item in unsaved if item.key not in found or item.at >= found[item.key].at}
            self._messages = found | own
            self._unsaved.clear()
            self.error = ""
            if own:
                self._write(set(own))

    def messages(self, channel: str) -> tuple[OutboxMessage, ...]:
        """All messages of a channel, the oldest first."""
        with self._lock:
            return tuple(message for message in self._messages.values() if message.channel == channel)

    def get(self, channel: str, subject: str) -> OutboxMessage | None:
        """The message of a subject on a channel."""
        with self._lock:
            return self._messages.get((channel, subject))

    def put(self, *messages: OutboxMessage, instead_of: Iterable[Key] = ()) -> None:
        """Write messages, and forget others, in one transaction. On return durable, unless `error` says why not."""
        with self._lock:
            removed = {key for key in instead_of if self._messages.pop(key, None)}
            for message in messages:
                self._messages.pop(message.key, None)  # to the end of the order
                self._messages[message.key] = message
            self._write(removed | {message.key for message in messages})

    def update(self, before: OutboxMessage, after: OutboxMessage | None) -> bool:
        """Replace a message, or forget it, unless a newer one has taken its place. Returns whether that was done."""
        with self._lock:
            if self._messages.get(before.key) != before:
                return False
            if after is None:
                del self._messages[before.key]
            else:
                self._messages[before.key] = after
            self._write({before.key})
            return True

    def remove(self, keys: Iterable[Key]) -> None:
        """Forget messages."""
        with self._lock:
            removed = {key for key in keys if self._messages.pop(key, None)}
            if removed:
                self._write(removed)

    def _write(self, keys: set[Key]) -> None:
        """Make these messages durable, and those that an earlier write failed for."""
        if self._closed:
            return
        self._unsaved |= keys
        try:
            self._durable.write({key: self._messages.get(key) for key in self._unsaved})
        except StoreError as error:
            self.error = f"{error}; messages may be sent again after a restart"
        else:
            self.error = ""
            self._unsaved.clear()
        self._log.update(self.error)
