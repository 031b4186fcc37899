"""Ground truth of a recorded run, and the answers that count as right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.recording.meta import TRUTH, RecordingError
from foreshock_simulator.spec.platform import PlatformSpec
from foreshock_simulator.spec.queries import users
from foreshock_simulator.spec.scenario import ScenarioSpec


class SloTarget(NamedTuple):
    """SLO of a service: `share` of its requests within a minute take less than `latency` seconds."""

    latency: float
    share: float


@dataclass(frozen=True, slots=True)
class Expected:
    """Result that a scenario is meant to have.

    cascade: whether services besides the origin breach their SLO; None: left to the run. root_causes: acceptable root
    causes; `edge` is one as well for a network path. gpus: labels of the GPUs of the contended pool. slos: of every
    service with one.
    """

    cascade: bool | None
    root_causes: frozenset[Service] = frozenset()
    edge: tuple[Service, Service] | None = None
    gpus: frozenset[str] = frozenset()
    slos: Mapping[Service, SloTarget] | None = None


@dataclass(frozen=True, slots=True)
class Truth:
    """Ground truth of a run; times in Unix seconds.

    onset: start of the first fault. origin: service where it begins. pool: the contended GPU pool. victims: services
    besides the origin that breached their SLO at or after the onset. breached: first breach of each, and the origin's.
    others: start and end of other faults in the recording.
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
    others: tuple[tuple[float, float], ...] = ()

    @property
    def cascaded(self) -> bool:
        """Whether services besides the origin breached their SLO."""
        return bool(self.victims)

    @property
    def cascade_onset(self) -> float:
        """Time of the first victim's SLO breach.

        Raises:
            ValueError: there is no victim.
        """
        return min(self.breached[victim] for victim in self.victims)


def read_truth(folder: Path) -> Truth:
    """Read a recording's `truth.json`.

    Raises:
        RecordingError: the file is missing or invalid.
    """
    try:
        return parse_truth(orjson.loads((folder / TRUTH).read_bytes()))
    except FileNotFoundError:
        raise RecordingError(f"recording {folder}: it has no {TRUTH}; only what was simulated can be scored") from None
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecordingError(f"recording {folder}: {TRUTH} cannot be used: {error}") from None


def parse_truth(data: Mapping[str, Any]) -> Truth:
    """Truth from its JSON, where `breached` has names without namespaces, and may have breaches before the onset.

    Raises:
        KeyError, TypeError, ValueError: the JSON has another form.
    """
    onset = None if data["onset"] is None else float(data["onset"])
    victims = tuple(map(Service.parse, data["victims"]))
    origin = Service.parse(data["origin"]) if data["origin"] else None
    times = {name: float(time) for name, time in data["breached"].items()}
    services = (*victims, *((origin,) if origin else ()))
    return Truth(
        scenario=str(data["scenario"]),
        seed=int(data["seed"]),
        start=float(data["start"]),
        end=float(data["end"]),
        onset=onset,
        cause=str(data["cause"] or ""),
        origin=origin,
        pool=str(data["pool"] or ""),
        victims=victims,
        breached={
            service: times[service.name] for service in services if times.get(service.name, -1.0) >= (onset or 0.0)
        },
        others=tuple((float(fault["start"]), float(fault["end"])) for fault in data.get("faults") or ()),
    )


def expected_of(spec: ScenarioSpec) -> Expected:
    """The expected result of a scenario, with all acceptable names of its root cause.

    A flow counts as its entry service, a path as its edge or either end, a cache as the services that use it, a rack as
    those with GPUs in it.
    """
    platform, root_cause = spec.platform, spec.expects.root_cause
    services = (*(item.name for item in platform.services), *(item.name for item in platform.tenants))
    names = {name.name: Service(*name) for name in services}
    caller, arrow, callee = root_cause.partition(" -> ")
    edge = (names[caller], names[callee]) if arrow else None
    origin_pool = next((item.pool for item in platform.services if item.name.name == spec.expects.origin), None)
    places = next((pool.places for pool in platform.pools if pool.name == origin_pool), ())
    return Expected(
        cascade=spec.expects.cascade,
        root_causes=frozenset(edge or (names[name] for name in _right_names(platform, root_cause))),
        edge=edge,
        gpus=frozenset(f"{place.host}/gpu-{place.gpu}" for place in places),
        slos={
            names[item.name.name]: SloTarget(item.slo.latency, item.slo.objective)
            for item in platform.services
            if item.slo
        },
    )


def _right_names(platform: PlatformSpec, root_cause: str) -> list[str]:
    """Names of the services and tenants that are right for a root cause that is no path; none for \"\"."""
    entries = {flow.name: flow.service for flow in platform.flows}
    named = {item.name.name for item in platform.services} | {item.name.name for item in platform.tenants}
    if root_cause in entries or root_cause in named:
        return [entries.get(root_cause, root_cause)]
    return users(platform, root_cause) if root_cause else []
