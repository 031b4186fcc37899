"""Labeled incidents: what was injected into a recording, where, and when (`truth.json`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.recording.meta import META, TRUTH, RecordingError
from foreshock_evaluation.scores.outcome import Run
from foreshock_evaluation.scores.truth import expected_of
from foreshock_evaluation.suites.simulated import scenario_place
from foreshock_simulator.scenarios.load import load
from foreshock_simulator.scenarios.parsing.document import ScenarioError

FAULT_FREE = "fault-free"
"""Kind of a recording without a fault."""


class Fault(NamedTuple):
    """A time in which something is wrong, in Unix seconds."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Incident:
    """A labeled recording; times in Unix seconds.

    onset: start of the fault; None without one. end: of the fault. noticed: when users saw it, None if unknown. asked:
    the service that users see. root_causes: services that are right. lookalike: it only looks like a fault. others:
    further known faults in the recording.
    """

    name: str
    kind: str
    topology: str
    split: str
    onset: float | None
    end: float
    noticed: float | None
    asked: Service | None
    root_causes: frozenset[Service]
    lookalike: bool
    others: tuple[Fault, ...]

    @property
    def is_fault(self) -> bool:
        """Whether there is a root cause to find."""
        return self.onset is not None and bool(self.root_causes) and not self.lookalike

    @property
    def time(self) -> float:
        """The time of the first question: once users noticed, or else at the onset.

        Raises:
            ValueError: there is no fault.
        """
        if self.onset is None:
            raise ValueError(f"{self.name} has no fault")
        return self.onset if self.noticed is None else self.noticed

    def is_root_cause(self, service: Service) -> bool:
        """Whether a service is right; a namespace counts where both have one."""
        return any(
            right.name == service.name
            and (right.namespace == service.namespace or not right.namespace or not service.namespace)
            for right in self.root_causes
        )


def labeled_recordings(folder: Path) -> Iterator[Path]:
    """Folders of labeled recordings below a folder, at any depth, in the order of their paths."""
    for path in sorted(folder.rglob(TRUTH)):
        if (path.parent / META).exists():
            yield path.parent


def read_incident(folder: Path) -> Incident:
    """Read a recording's `truth.json`.

    Raises:
        RecordingError: the file is missing or invalid.
    """
    try:
        return _incident(folder, orjson.loads((folder / TRUTH).read_bytes()))
    except (OSError, KeyError, TypeError, ValueError, AttributeError, ScenarioError) as error:
        raise RecordingError(f"recording {folder}: {TRUTH} cannot be used: {error}") from None


def _incident(folder: Path, data: Mapping[str, Any]) -> Incident:
    breached = {str(name): float(time) for name, time in (data.get("breached") or {}).items()}
    victims = [Service.parse(name) for name in data.get("victims") or ()]
    seen = sorted((breached[item.name], item) for item in victims if item.name in breached)
    origin = Service.parse(data["origin"]) if data.get("origin") else None
    asked = data.get("asked")
    onset, noticed = data["onset"], data.get("noticed")
    if noticed is None and "kind" not in data:
        noticed = min((time for time in breached.values() if onset is not None and time >= onset), default=None)
    return Incident(
        name=folder.name,
        kind=str(data.get("kind") or data["scenario"]),
        topology=str(data.get("topology") or ""),
        split=str(data.get("split") or "dev"),
        onset=None if onset is None else float(onset),
        end=float(data.get("fault_end") or data["end"]),
        noticed=None if noticed is None else float(noticed),
        asked=Service.parse(asked) if asked else seen[0][1] if seen else origin,
        root_causes=_root_causes(folder, data),
        lookalike=bool(data.get("lookalike")),
        others=tuple(Fault(float(item["start"]), float(item["end"])) for item in data.get("faults") or ()),
    )


def _root_causes(folder: Path, data: Mapping[str, Any]) -> frozenset[Service]:
    """Services that are right. A simulation names flows as well, for which the service that they enter is right."""
    if "kind" not in data and data.get("root_cause"):
        run = Run.parse(folder.name)
        return expected_of(load(scenario_place(run.scenario), run.size, run.seed)).root_causes
    named = str(data["root_cause"]).split(" -> ") if data.get("root_cause") else []
    return frozenset(Service.parse(name) for name in (*named, *(data.get("also_right") or ())))
