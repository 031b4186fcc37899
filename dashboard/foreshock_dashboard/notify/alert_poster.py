"""Keeps the alerts of one Alertmanager up to date, in a dedicated thread: level-triggered, without state to lose."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from foreshock_dashboard.common.log_on_change import LogOnChange
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.notify.alertmanager import Alertmanager, Silence, Suppression
from foreshock_dashboard.notify.channel_state import ChannelState
from foreshock_dashboard.notify.due import Mute
from foreshock_dashboard.notify.timing import Timing, retry_delay

log = logging.getLogger(__name__)

RENEW_SECONDS = 30.0
"""Wall-clock time between two posts without news, and longest time until a failed one is repeated."""
VALID_SECONDS = 300.0
"""Time until an alert that is not posted again ends: ten posts, and a restart of the hub, as `keep_firing_for`."""

AUTHOR, INCIDENT = "foreshock", "incident"
"""Beginning of the author of silences that hubs make, and the label that they match."""
SILENCES_SECONDS = 20.0
"""Wall-clock time after which silences wait for the next post: slow ones must not delay alerts."""
SAME_END_SECONDS = 1.0
"""Difference between the ends of two silences that are the same, by clocks that are read one after the other."""

_Value = TypeVar("_Value")


class Posting(NamedTuple):
    """Alerts as of a time (Unix seconds), and the incidents that they notify: those with an alert, not muted."""

    alerts: Sequence[Json]
    notified: Sequence[Incident] = ()
    at: float = 0.0


class AlertPoster:
    """Posts all alerts to one Alertmanager when they change, and every `RENEW_SECONDS`; keeps its silences in step.

    Args:
        posting: the alerts as of now. mutes: the open incidents that are muted now, by id. accepted: takes each
            posting that Alertmanager accepted.

    Attributes:
        suppressions: incidents that Alertmanager silences or inhibits, as of the last post.
    """

    def __init__(
        self,
        peer: Alertmanager,
        posting: Callable[[], Posting],
        mutes: Callable[[], Mapping[str, Mute]],
        timing: Timing,
        accepted: Callable[[Posting], None] = lambda _: None,
    ) -> None:
        self.alertmanager = peer
        self.state = ChannelState(peer.name, "alertmanager")
        self.suppressions: Mapping[str, Suppression] = {}
        self._posting, self._mutes, self._timing, self._accepted = posting, mutes, timing, accepted
        self._silenced: dict[str, float] = {}
        """Until when, in the hub's time, by incident."""
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
        """Keep silences, post the alerts, and read which are suppressed. Returns whether all of that succeeded."""
        failures: list[str] = []
        self._silence(failures)  # first, lest an alert notifies before
        self._attempt(failures, self._post, None)
        error = failures[-1] if failures else ""
        if error:
            self.state.failed(self._timing.now(), error)
        self._log.update(error)
        return not error

    def _attempt(self, failures: list[str], call: Callable[[], _Value], otherwise: _Value) -> _Value:
        """What a call returns; on an error, which is noted and stops nothing else, another value."""
        try:
            return call()
        except SourceError as error:
            failures.append(str(error))
        except Exception as error:  # as at the outermost loop: the next round tries again
            log.exception("Alertmanager %s could not be kept up to date", self.alertmanager.name)
            failures.append(str(error) or type(error).__name__)
        return otherwise

    def _post(self) -> None:
        posting = self._posting()
        self.alertmanager.post(posting.alerts)
        found = self.alertmanager.suppressions() if posting.alerts else {}
        self.suppressions = {
            key: item._replace(silenced_until=item.silenced_until and self._ends(key, item.silenced_until))
            for key, item in found.items()
        }
        self.state.sent(self._timing.now(), counted=bool(posting.alerts))
        self._accepted(posting)

    def _ends(self, incident_id: str, end: float) -> float:
        """The end of a silence in the hub's time, to the second; if it mirrors a mute, exactly when that ends."""
        found, mirrored = self._timing.to_hub(end), self._silenced.get(incident_id, 0.0)
        return mirrored if abs(found - mirrored) <= SAME_END_SECONDS * self._timing.speed else float(round(found))

    def _silence(self, failures: list[str]) -> None:
        """Silence the alerts of muted incidents, and end the silences of those that no longer are.

        Silences of other incidents are left alone: another hub may have made them.
        """
        mutes = self._attempt(failures, self._mutes, None)
        if mutes is None:
            return
        changed = [key for key, mute in mutes.items() if self._silenced.get(key) != mute.until]
        ended = [key for key in self._silenced if key not in mutes]
        if not changed and not ended:
            return
        found = self._attempt(failures, self._own_silences, None)
        deadline = self._timing.monotonic() + SILENCES_SECONDS
        for key in (*changed, *(() if found is None else ended)):
            if self._timing.monotonic() <= deadline:
                known = (found or {}).get(key, ())
                self._attempt(failures, partial(self._keep_silence, key, mutes.get(key), known), None)

    def _own_silences(self) -> Mapping[str, Sequence[Silence]]:
        """Silences that hubs made, by incident: also before a restart, and one by each peer's thread in a cluster."""
        found: dict[str, list[Silence]] = {}
        for silence in self.alertmanager.silences():
            if set(silence.matchers) == {INCIDENT} and f"{silence.by} ".startswith(f"{AUTHOR} "):
                found.setdefault(silence.matchers[INCIDENT], []).append(silence)
        return found

    def _keep_silence(self, incident_id: str, mute: Mute | None, found: Sequence[Silence]) -> None:
        """Create the silence of a muted incident unless it is there; end those that last longer, without a mute all."""
        timing, end = self._timing, 0.0
        if mute is not None:
            end = timing.to_wall(mute.until)
            if not any(abs(silence.end - end) <= SAME_END_SECONDS for silence in found):
                by, comment = f"{AUTHOR} {mute.by}".strip(), mute.comment or "silenced in foreshock"
                self.alertmanager.create_silence({INCIDENT: incident_id}, timing.wall(), end, by, comment)
        for silence in found:
            if silence.end > end + SAME_END_SECONDS:
                self.alertmanager.expire_silence(silence.id)
        if mute is None:
            del self._silenced[incident_id]
        else:
            self._silenced[incident_id] = mute.until
