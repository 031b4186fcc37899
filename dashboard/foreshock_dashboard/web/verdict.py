"""The first thing on the page: what is wrong, or that nothing is, or why that cannot be said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from foreshock_dashboard.analysis.sentence import gpu_list
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.query import Json
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.web.payloads import conditions, incident, number_of_time, open_incidents

State = Literal["critical", "warning", "calm", "learning", "empty", "error"]


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


def verdict(snapshot: Snapshot) -> Verdict:
    """One sentence about the platform."""
    world = snapshot.world
    if world is None:
        if snapshot.error:
            return Verdict("error", f"foreshock cannot read its source: {snapshot.error}")
        return Verdict("empty", "No data yet: the hub has not finished its first look.", (_FIRST_STEPS,))
    gaps = _gaps(snapshot)
    current = open_incidents(snapshot)
    if current:
        return _starving(current, gaps)
    if not world.services and not world.gpus:
        return Verdict("empty", "No services and no GPUs are known yet.", (_FIRST_STEPS, *gaps))
    size = f"{_count(len(world.services), 'service')} on {_count(len(world.gpus), 'GPU')}"
    if not snapshot.learning.done:
        have, need = (f"{seconds / 60:.0f}" for seconds in snapshot.learning)
        text = f"Learning what is usual: {have} of {need} min."
        return Verdict(
            "learning", text, (f"No warnings can be given until then; the figures of {size} are live.", *gaps)
        )
    erring = [str(service) for service, seen in conditions(snapshot).items() if seen.word == "errors"]
    if erring:
        names = ", ".join(erring[:3]) + (" …" if len(erring) > 3 else "")
        text = f"Errors in {_count(len(erring), 'service')}: {names}. Watching {size}."
        return Verdict("warning", "No service is starved of GPU time, but some services fail.", (text, *gaps))
    over = [item.until for item in snapshot.incidents if item.until is not None]
    ended = max(over, default=None)
    return Verdict("calm", "No service is starved of GPU time.", (f"Watching {size}.", *gaps), ended)


_FIRST_STEPS = (
    "Start foreshock-exporter on the GPU hosts and name them with --targets (FORESHOCK_TARGETS), and let the services "
    "send OTLP spans to this hub: gRPC on port 4317, HTTP on port 4318."
)


def _starving(current: tuple[Incident, ...], gaps: tuple[str, ...]) -> Verdict:
    worst = current[0]
    text = f"{worst.aggressor} starves {worst.victim} on {gpu_list(worst.gpus)}"
    if worst.phase == "cascading":
        text += ", and its callers slow down too"
    others = len(current) - 1
    more = (f"{_count(others, 'more warning')} below.",) if others else ()
    state: State = "warning" if worst.phase == "advisory" else "critical"
    return Verdict(state, f"{text}.", (*more, *gaps), worst.since, worst)


def _gaps(snapshot: Snapshot) -> tuple[str, ...]:
    """What the page does not see, so that calm is not mistaken for blind."""
    world = snapshot.world
    if world is None:
        return ()
    silent = [target.instance for target in world.targets if target.up is not True]
    found = []
    if snapshot.error:
        found.append(f"These figures stand still: {snapshot.error}")
    if silent:
        names = ", ".join(silent[:3]) + (" …" if len(silent) > 3 else "")
        found.append(f"{len(silent)} of {_count(len(world.targets), 'target')} do not answer: {names}.")
    if not world.gpus:
        found.append("No GPUs are seen: no exporter gives gpu_info.")
    if world.gpus and not world.services:
        found.append("No services are seen: no spans have arrived.")
    return tuple(found)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
