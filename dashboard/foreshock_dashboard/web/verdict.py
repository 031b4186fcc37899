"""The first thing on the page: what is wrong, or that nothing is, or why that cannot be said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from foreshock_dashboard.analysis.sentence import gpu_list
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.query import Json
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.incident_json import incident
from foreshock_dashboard.web.numbers import number_of_time
from foreshock_dashboard.web.payloads import conditions, open_incidents
from foreshock_dashboard.web.sight import Sight, fresh_for, sight

State = Literal["critical", "warning", "calm", "blind", "learning", "empty", "error"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`headline` changes only when what it says changes, for it is read aloud; `detail` may change with every tick.

    since: Unix seconds from which on it holds, None where that is not known. incident: the worst one, if any.
    """

    state: State
    headline: str
    detail: tuple[str, ...] = ()
    since: float | None = None
    incident: Incident | None = None

    def payload(self) -> Json:
        """As JSON."""
        return {
            "state": self.state,
            "headline": self.headline,
            "detail": list(self.detail),
            "since": number_of_time(self.since),
            "incident": incident(self.incident) if self.incident else None,
        }


def verdict(snapshot: Snapshot, now: float | None = None) -> Verdict:
    """One sentence about the platform. `now`: the hub's time in Unix seconds; the World's own unless given."""
    world = snapshot.world
    if world is None:
        if snapshot.error:
            return Verdict("error", f"foreshock cannot read its source: {snapshot.error}")
        return Verdict("empty", "No data yet: the hub has not finished its first look.", (_FIRST_STEPS,))
    seen = sight(world)
    gaps = _gaps(snapshot, world, seen)
    still = bool(snapshot.error) and now is not None and now - world.time > fresh_for(world.step)
    since = world.time if still else seen.since
    blind = _blind("anybody" if still else seen.blind and f"any {seen.blind}", since)
    current = tuple(item for item in open_incidents(snapshot) if item.victims)
    unseen = bool(gaps)
    gaps = (*gaps, *(item.sentence for item in open_incidents(snapshot) if not item.victims))
    if current:
        return _starving(current, (f"This may have changed. {blind}", *gaps) if blind else gaps)
    if not world.services and not world.gpus and not seen.silent_targets:
        return Verdict("empty", "No services and no GPUs are known yet.", (_FIRST_STEPS, *gaps))
    if blind and (since is not None or snapshot.learning.done or seen.silent_targets):
        return Verdict("blind", blind, gaps, since)
    size = f"{_count(seen.services, 'service')} on {_count(seen.gpus, 'GPU')}"
    if not snapshot.learning.done:
        have, need = (f"{seconds / 60:.0f}" for seconds in snapshot.learning)
        text = f"Learning what is usual: {have} of {need} min."
        return Verdict(
            "learning", text, (f"No warnings can be given until then; the figures of {size} are live.", *gaps)
        )
    starved = "No service that can be seen is starved" if unseen else "No service is starved"
    erring = [str(service) for service, state in conditions(snapshot).items() if state.word == "errors"]
    if erring:
        text = f"Errors in {_count(len(erring), 'service')}: {_names(erring)}. Watching {size}."
        return Verdict("warning", f"{starved} of GPU time, but some services fail.", (text, *gaps))
    over = [item.until for item in snapshot.incidents if item.until is not None]
    ended = max(over, default=None)
    return Verdict("calm", f"{starved} of GPU time.", (f"Watching {size}.", *gaps), ended)


_FIRST_STEPS = (
    "Start foreshock-exporter on the GPU hosts and name them with --targets (FORESHOCK_TARGETS), and let the services "
    "send OTLP spans to this hub: gRPC on port 4317, HTTP on port 4318."
)


def _starving(current: tuple[Incident, ...], gaps: tuple[str, ...]) -> Verdict:
    worst = current[0]
    if worst.aggressor and worst.gpus:
        text = f"{worst.aggressor} starves {worst.victim} on {gpu_list(worst.gpus)}"
    else:
        text = worst.sentence.partition("; ")[0].rstrip(".")
    if worst.phase == "cascading":
        text += ", and its callers slow down too"
    others = len(current) - 1
    more = (f"{_count(others, 'more warning')} below.",) if others else ()
    if worst.slowed:
        more = (f"Slower too: {', '.join(map(str, worst.slowed))}.", *more)
    state: State = "warning" if worst.phase == "advisory" else "critical"
    return Verdict(state, f"{text}.", (*more, *gaps), worst.since, worst)


def _blind(whom: str, since: float | None) -> str:
    """Why nothing can be said; "" where nobody is missed. since: Unix seconds of the last data, if there was any."""
    if not whom:
        return ""
    if since is None:
        return f"Cannot tell: no data from {whom} yet."
    return f"Cannot tell: no fresh data from {whom} since {datetime.fromtimestamp(since, UTC):%H:%M:%S} UTC."


def _gaps(snapshot: Snapshot, world: World, seen: Sight) -> tuple[str, ...]:
    """What the page does not see, so that calm is not mistaken for blind."""
    found = []
    if snapshot.error:
        found.append(f"These figures stand still: {snapshot.error}")
    silent = (
        ("target", len(world.targets), [target.instance for target in seen.silent_targets]),
        ("GPU", len(world.gpus), [gpu.label for gpu in seen.silent_gpus]),
        ("service", len(world.services), [str(service) for service in seen.silent_services]),
    )
    for noun, known, names in silent:
        if names:
            found.append(f"No fresh data from {len(names)} of {_count(known, noun)}: {_names(names)}.")
    if not world.gpus:
        found.append("No GPUs are seen: no exporter gives gpu_info.")
    if world.gpus and not world.services:
        found.append("No services are seen: no spans have arrived.")
    return tuple(found)


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
