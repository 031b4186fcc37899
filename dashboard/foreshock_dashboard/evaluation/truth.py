"""What really happened in a recorded run, and whom a detector may rightly name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.recording.errors import RecordingError
from foreshock_dashboard.recording.meta import TRUTH


class Objective(NamedTuple):
    """`share` of a service's requests within a minute are to be answered well within `latency` seconds."""

    latency: float
    share: float


@dataclass(frozen=True, slots=True)
class Expected:
    """What the scenario's author meant.

    cascade: services besides the first are to miss their objectives. culprits: any of them is a right answer to whose
    doing it is; so is `edge`, where it is a path. gpus: labels of those of the pool that is fought for. objectives: of
    every service that has one.
    """

    cascade: bool
    culprits: frozenset[Service] = frozenset()
    edge: tuple[Service, Service] | None = None
    gpus: frozenset[str] = frozenset()
    objectives: Mapping[Service, Objective] | None = None


@dataclass(frozen=True, slots=True)
class Truth:
    """What happened, times in Unix seconds.

    onset: when the first fault began, t_0. origin: where it begins. pool: whose GPUs are fought for. victims: services
    besides the origin that missed their objective at or after the onset. breached: when each first did, the origin as
    well.
    """

    scenario: str
    seed: int
    start: float
    end: float
    onset: float | None
    cause: str
    origin: Service | None
    pool: str
    victims: tuple[Service, ...]
    breached: Mapping[Service, float]

    @property
    def cascaded(self) -> bool:
        """Whether services besides the origin missed their objective."""
        return bool(self.victims)

    @property
    def began(self) -> float:
        """When the first victim did, t_c: the cascade's onset.

        Raises:
            ValueError: there is no victim.
        """
        return min(self.breached[victim] for victim in self.victims)


def read_truth(folder: Path) -> Truth:
    """Read a recording's `truth.json`.

    Raises:
        RecordingError: it has none, or one that makes no sense.
    """
    try:
        return truth_of(orjson.loads((folder / TRUTH).read_bytes()))
    except FileNotFoundError:
        raise RecordingError(f"recording {folder}: it has no {TRUTH}; only what was simulated can be scored") from None
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordingError(f"recording {folder}: {TRUTH} cannot be used: {error}") from None


def truth_of(found: Mapping[str, Any]) -> Truth:
    """The truth from its JSON, where `breached` has bare names, and also tells of misses before the onset.

    Raises:
        KeyError, TypeError, ValueError: it is not of that form.
    """
    onset = None if found["onset"] is None else float(found["onset"])
    victims = tuple(map(Service.parse, found["victims"]))
    origin = Service.parse(found["origin"]) if found["origin"] else None
    times = {name: float(time) for name, time in found["breached"].items()}
    who = (*victims, *((origin,) if origin else ()))
    return Truth(
        scenario=str(found["scenario"]),
        seed=int(found["seed"]),
        start=float(found["start"]),
        end=float(found["end"]),
        onset=onset,
        cause=str(found["cause"] or ""),
        origin=origin,
        pool=str(found["pool"] or ""),
        victims=victims,
        breached={each: times[each.name] for each in who if times.get(each.name, -1.0) >= (onset or 0.0)},
    )
