"""Keeps the alerts of one Alertmanager up to date, in a dedicated thread: level-triggered, without state to lose."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from foreshock_dashboard.common.log_on_change import LogOnChange
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.notify.alertmanager import Alertmanager, Suppression
from foreshock_dashboard.notify.backoff import retry_delay
from foreshock_dashboard.notify.channel_state import ChannelState

log = logging.getLogger(__name__)

RENEW_SECONDS = 30.0
"""Wall-clock time between two posts without news, and longest time until a failed one is repeated."""
VALID_SECONDS = 300.0
"""Time until an alert that is not posted again ends: ten posts, and a restart of the hub, as `keep_firing_for`."""


class Timing(NamedTuple):
    """Clock and chance. now: Unix seconds of the hub. random: a number in [0, 1)."""

    now: Callable[[], float]
    monotonic: Callable[[], float]
    random: Callable[[], float]


class Peer:
    """Posts all alerts to one Alertmanager when they change, and every `RENEW_SECONDS`.

    Args:
        alerts: the alerts as of now.

    Attributes:
        suppressions: incidents that Alertmanager silences or inhibits, as of the last post.
    """

    def __init__(self, peer: Alertmanager, alerts: Callable[[], Sequence[Json]], timing: Timing) -> None:
        self.alertmanager = peer
        self.state = ChannelState(peer.name, "alertmanager")
        self.suppressions: Mapping[str, Suppression] = {}
        self._alerts, self._timing = alerts, timing
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
