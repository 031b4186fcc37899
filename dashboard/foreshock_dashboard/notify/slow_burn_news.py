"""Which slow burns are news at a time: once, again when their date moves decisively, and in working hours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from foreshock_dashboard.model.capacity.slow_burn import SlowBurn, SlowBurnKey, SlowBurnKind
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world_sections import DAY_SECONDS
from foreshock_dashboard.settings.working_hours import WorkingHours

LEAD_SECONDS: Mapping[SlowBurnKind, float] = {
    SlowBurnKind.CERTIFICATE: 7 * DAY_SECONDS,
    SlowBurnKind.ERROR_BUDGET: 7 * DAY_SECONDS,
}
"""Time before the date at which a kind is announced: these need a person for longer, and their date is certain."""
OTHER_LEAD_SECONDS = 2 * DAY_SECONDS
"""The same for other kinds, as in the alert ForeshockResourceFillingUp."""
ACT_AHEAD_SECONDS = 7200.0
"""Time to act: what is nearer does not wait for working hours, nor may any wait leave less."""
PATIENT_KINDS = (SlowBurnKind.QUEUE, SlowBurnKind.ERROR_BUDGET)
"""Kinds that always wait for working hours: nothing fails at their date."""
MOVED_SECONDS, MOVED_RATIO = 3600.0, 0.5
"""A date has moved decisively by this much at least, and by this share of the time that is left until the earlier of
both dates."""
UPDATE_SECONDS = 20 * 3600.0
"""Time between two messages of a group that can wait, and after its end in which the same members are no news."""


class Announced(NamedTuple):
    """A slow burn as it was announced. at, earliest, latest: Unix seconds; None for never."""

    kind: SlowBurnKind
    service: Service | None
    name: str
    at: float
    earliest: float
    latest: float | None

    @property
    def key(self) -> SlowBurnKey:
        """Identifies it in later forecasts."""
        return SlowBurnKey(self.kind, self.service, self.name)


def is_due(burn: SlowBurn, now: float, hours: WorkingHours) -> bool:
    """Whether a slow burn is to be announced at a time (Unix seconds).

    In working hours, once less is left than the lead of its kind, or than a whole day of work. Outside of them, only if
    it comes within two hours: it would leave less to act once they begin.
    """
    if not hours.contains(now):
        return burn.kind not in PATIENT_KINDS and is_near(burn, now)
    lead = LEAD_SECONDS.get(burn.kind, OTHER_LEAD_SECONDS)
    return burn.at - now <= lead or burn.at < hours.next_start(hours.next_start(now))


def is_near(burn: SlowBurn, now: float) -> bool:
    """Whether there is too little time to wait for anything."""
    return burn.at - now <= ACT_AHEAD_SECONDS


def has_moved(burn: SlowBurn, before: Announced, now: float) -> bool:
    """Whether a date has moved decisively: out of the interval that was announced, and far enough for another plan.

    A queue that grows steadily takes ever longer to double, so that only an earlier date is news.
    """
    if before.earliest <= burn.at and (before.latest is None or burn.at <= before.latest):
        return False
    if burn.kind is SlowBurnKind.QUEUE and burn.at > before.at:
        return False
    left = min(burn.at, before.at) - now
    return abs(burn.at - before.at) >= max(MOVED_SECONDS, MOVED_RATIO * left)


def can_wait(burn: SlowBurn, before: Announced | None, last_at: float, hours: WorkingHours) -> bool:
    """Whether the next message in working hours, after the time between two of a group, leaves the time to act.

    A later date than the announced one always can: who acts on that is early. So dates that alternate are no messages.

    Args:
        before: None for a slow burn that has not been announced.
        last_at: Unix seconds of the last message of the group.
    """
    next_at = last_at + UPDATE_SECONDS
    if not hours.contains(next_at):
        next_at = hours.next_start(next_at)
    return (before is not None and burn.at >= before.at) or burn.at - next_at > ACT_AHEAD_SECONDS
