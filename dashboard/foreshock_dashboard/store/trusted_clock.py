"""The time that retention measures ages from, and when a clock is not to be trusted with deleting data."""

from __future__ import annotations

import logging

from foreshock_dashboard.common.clock import Now

log = logging.getLogger(__name__)

JUMP_SECONDS = 300.0
"""A larger change of the wall clock against the monotonic clock is a jump; NTP slews at most 1.8 s an hour."""
TRUSTED_AFTER_SECONDS = 3600.0
"""Time without a jump after which the wall clock is trusted: at the start, and after a jump."""


class TrustedClock:
    """Compares the wall clock with the monotonic clock.

    A clock that is set wrong by an NTP step or an empty battery would expire the whole history at once. Nothing expires
    by age until the clock is trusted, also after a restart, because the data of that time may bear the wrong time.
    `paused` gives the reason after a jump, else "".
    """

    def __init__(self, now: Now, monotonic: Now) -> None:
        self.paused = ""
        self._now, self._monotonic = now, monotonic
        start = monotonic()
        self._latest, self._since = now() - start, start
        """Wall clock minus monotonic clock, and the monotonic time since which it had no jump."""
        self._trusted: float | None = None
        """That difference when it was last trusted."""

    def reference(self, newest: float) -> float | None:
        """Return the Unix time that ages count from: that of the newest data at most. None while not trusted."""
        wall, monotonic = self._now(), self._monotonic()
        difference = wall - monotonic
        jump = difference - (self._latest if self._trusted is None else self._trusted)
        if self._trusted is None or abs(jump) > JUMP_SECONDS:
            if abs(difference - self._latest) > JUMP_SECONDS:
                self._since = monotonic
                direction = "ahead of" if jump > 0 else "behind"
                self.paused = (
                    f"the clock is {abs(jump) / 3600:,.1f} h {direction} its expected time; "
                    f"expiry by age is paused for up to {TRUSTED_AFTER_SECONDS / 3600:g} h; check time synchronization"
                )
                log.warning("%s", self.paused)
            self._latest = difference
            if monotonic - self._since < TRUSTED_AFTER_SECONDS:
                return None
        if self.paused:
            log.warning("the clock is trusted again; expiry by age has resumed")
        self._trusted, self._latest, self.paused = difference, difference, ""
        return min(wall, newest)
