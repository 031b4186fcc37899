"""What to do where more is asked of a service than usual: whom to limit to what, or where to add replicas."""

from __future__ import annotations

from datetime import UTC, datetime

from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.analysis.remediation.effect import Relief, ending
from foreshock_dashboard.analysis.remediation.scale_out import further, short
from foreshock_dashboard.analysis.saturation.overload import crowding
from foreshock_dashboard.model.seasonality import SeasonalGrowth
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.units import percent

GOOD_PART = 0.3
"""Part of the growth that a caller's own rate shows at least where its usual rate is what to hold it to."""


def plan(scan: Scan, service: Service, habit: SeasonalGrowth) -> str:
    """What to do about load of a service that comes every time."""
    clock = datetime.fromtimestamp(habit.since, UTC).strftime("%H:%M")
    needed = short(scan, service, habit.growth)
    then = Relief(f"load of {service} at that time", "ratio", needed.load, needed.then).text if needed else ""
    return (
        f"{further(scan, service, habit.growth)}, from now on before {clock} UTC: at this time {habit.growth:.1f} times"
        f" as much is asked as in the two hours before, as earlier weeks or days show{ending('with them', then, ';')}"
    )


def against(scan: Scan, service: Service, who: Service, times: float) -> str:
    """What to do about load of a service that nobody could know of: `times` the usual, by whoever asks for more."""
    room = _without_room(scan, service)
    whose = "its load" if room == service else f"the load of {service}"
    instead = f"{_limit(scan, who, times)}, or {further(scan, room, times)}"
    return f"{instead}: without the growth {whose} would be {percent(1 / times)} of what it is"


def _without_room(scan: Scan, service: Service) -> Service:
    """Whose replicas are too few for what is asked of a service: of the model servers behind it the fullest that are
    crowded; else itself, for more of those in front would only ask more of them.
    """
    if service in scan.models:
        return service
    behind = [model for model in scan.strains if service in scan.upstream[model] and crowding(scan, model)]
    return max(behind, key=lambda model: scan.strains[model].load, default=service)


def _limit(scan: Scan, who: Service, times: float) -> str:
    """Which rate to hold a service to: what is usual, where it grew by a good part of what its requests ask for."""
    now, usual = scan.value("rate", who), scan.level("rate", who)
    if not (usual > 0 and now / usual - 1 >= GOOD_PART * (times - 1) > 0):
        return f"limit the rate of {who}"
    return f"limit {who} to its usual {usual:.3g} requests a second (now {now:.3g})"
