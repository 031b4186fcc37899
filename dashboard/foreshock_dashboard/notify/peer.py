"""Keeps the alerts of one Alertmanager up to date, in a dedicated thread: level-triggered, without state to lose."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from foreshock_dashboard.common.log_on_change import LogOnChange
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.notify.alertmanager import Alertmanager, Silence, Suppression
from foreshock_dashboard.notify.backoff import retry_delay
from foreshock_dashboard.notify.channel_state import ChannelState

log = logging.getLogger(__name__)

RENEW_SECONDS = 30.0
"""Wall-clock time between two posts without news, and longest time until a failed one is repeated."""
VALID_SECONDS = 300.0
"""Time until an alert that is not posted again ends: ten posts, and a restart of the hub, as `keep_firing_for`."""


AUTHOR, INCIDENT = "foreshock", "incident"
"""Beginning of the author of silences that hubs make, and the label that they match."""


class Timing(NamedTuple):
    """Clock and chance. now: Unix seconds of the hub. random: a number in [0, 1)."""

    now: Callable[[], float]
    monotonic: Callable[[], float]
    random: Callable[[], float]


class Mute(NamedTuple):
    """Why an incident is not to notify: silenced, or under maintenance, until a time (Unix seconds)."""

    until: float
    by: str = ""
    comment: str = ""


class Peer:
    """Posts all alerts to one Alertmanager when they change, and every `RENEW_SECONDS`; keeps its silences in step.

    Args:
        alerts: the alerts as of now. mutes: the open incidents that are muted now, by id.

    Attributes:
        suppressions: incidents that Alertmanager silences or inhibits, as of the last post.
    """

    def __init__(
        self,
        peer: Alertmanager,
        alerts: Callable[[], Sequence[Json]],
        mutes: Callable[[], Mapping[str, Mute]],
        timing: Timing,
    ) -> None:
        self.alertmanager = peer
        self.state = ChannelState(peer.name, "alertmanager")
        self.suppressions: Mapping[str, Suppression] = {}
        self._alerts, self._mutes, self._timing = alerts, mutes, timing
        self._silences: dict[str, Silence] = {}
        self._log = LogOnChange(log, recovered=f"Alertmanager {peer.name}: alerts are accepted again")
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="alertmanager", daemon=True)

    def start(self) -> None:
        """Begin to post."""
        self._thread.start()

    def wake(self) -> None:
        """Post at once: the alerts have changed."""
        self._wake.set()

    def close(self) -> None:
        """Stop, without waiting for a post in progress for long."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(1)
        if not self._thread.is_alive():  # else its connection hangs, and ends with the process
            self.alertmanager.close()

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            self._wake.clear()
            failures = 0 if self.post() else failures + 1
            wait = min(RENEW_SECONDS, retry_delay(failures, self._timing.random)) if failures else RENEW_SECONDS
            self._wake.wait(wait)

    def post(self) -> bool:
        """Post the alerts, and read which of them are suppressed. Returns whether that succeeded."""
        error = ""
        try:
            self._silence(self._mutes())  # first, lest the alert notifies before
            alerts = self._alerts()
            self.alertmanager.post(alerts)
            self.suppressions = self.alertmanager.suppressions() if alerts else {}
            self.state.sent(self._timing.now(), counted=bool(alerts))
        except SourceError as failure:
            error = str(failure)
        except Exception as failure:  # outermost loop: the next round tries again after any failure
            log.exception("alerts could not be posted to Alertmanager %s", self.alertmanager.name)
            error = str(failure)
        if error:
            self.state.failed(self._timing.now(), error)
        self._log.update(error)
        return not error

    def _silence(self, mutes: Mapping[str, Mute]) -> None:
        """Silence the alerts of muted incidents, and end the silences of those that no longer are.

        Only silences that this hub made or found for a muted incident are ended: another hub may have others.
        """
        missing = [key for key, mute in mutes.items() if not self._covers(key, mute)]
        if missing:
            for silence in self.alertmanager.silences():  # made before a restart, or at another peer
                if set(silence.matchers) == {INCIDENT} and silence.by.startswith(AUTHOR):
                    self._silences.setdefault(silence.matchers[INCIDENT], silence)
        for key in missing:
            if not self._covers(key, mute := mutes[key]):
                by, comment = f"{AUTHOR} {mute.by}".strip(), mute.comment or "silenced in foreshock"
                matchers, start = {INCIDENT: key}, self._timing.now()
                name = self.alertmanager.create_silence(matchers, start, mute.until, by, comment)
                replaced = self._silences.get(key)
                self._silences[key] = Silence(name, matchers, start, mute.until, by, comment)
                if replaced is not None:
                    self.alertmanager.expire_silence(replaced.id)
        for key in self._silences.keys() - mutes.keys():
            if (silence := self._silences[key]).end > self._timing.now():
                self.alertmanager.expire_silence(silence.id)
            del self._silences[key]

    def _covers(self, incident_id: str, mute: Mute) -> bool:
        silence = self._silences.get(incident_id)
        return silence is not None and abs(silence.end - mute.until) <= 1.0
