"""Payload of one pair of affected service (victim) and noisy neighbor (aggressor). Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from foreshock_dashboard.model.incident import ConfidenceLevel, Incident, Quality, Severity, State
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.change import no_changes
from foreshock_dashboard.render.clause import Text, filled, in_words, joined_text, text
from foreshock_dashboard.render.incident_summary import headline_clauses, suspicion_clauses
from foreshock_dashboard.render.units import duration
from foreshock_dashboard.render.verdict.pair_sentence import no_shared_gpu, pair_clauses
from foreshock_dashboard.render.words.gpus import PAIR_TEXTS
from foreshock_dashboard.render.words.panels import EMPTY
from foreshock_dashboard.web.state.change_json import CHANGES_DURING, CHANGES_SECONDS, ChangeMark, change_mark_rows
from foreshock_dashboard.web.state.conditions import open_incidents
from foreshock_dashboard.web.state.incident_json import ActionJson, ClauseJson, actions, clauses
from foreshock_dashboard.web.state.numbers import Row, last, last_median, number, number_of_time
from foreshock_dashboard.web.state.parameters import service_named
from foreshock_dashboard.web.state.placement import MIN_WAIT_RATIO, Pair


def find_service(text: str, known: Collection[Service]) -> Service | None:
    """The service with this full name, or with this name if it is unique; else None."""
    if exact := next((service for service in known if str(service) == text), None):
        return exact  # checked first, because a name may contain a slash
    try:
        service = service_named(text, known)
    except ValueError:
        return None
    return service if service in known else None


class PairGpu(Row):
    """A GPU that a pair shares.

    All values are shares of time, 0 to 1, in the newest evaluation; None for no data.

    wait: time that the victim waited on the aggressor on this GPU. victim_busy, aggressor_busy: time that the service
    used this GPU.
    """

    gpu: str
    wait: float | None
    victim_busy: float | None
    aggressor_busy: float | None


class PairIncident(Row):
    """The open incident of a pair. since, opened, paged: Unix seconds. confidence: 0 to 1."""

    id: str
    severity: Severity
    state: State
    since: float | None
    opened: float | None
    paged: float | None
    confidence: float | None
    confidence_level: ConfidenceLevel
    quality: Quality
    suspicion_clauses: list[ClauseJson]
    actions: list[ActionJson]


class PairDetail(Row):
    """A pair in detail.

    ratio: share of time, 0 to 1, that the victim waits on the aggressor, mean over `gpus`; None for no data.
    gpus: the GPUs that both use, of an open incident only its own, the longest wait first. summary: the pair in one
    sentence, whole and in clauses that link to their evidence. changes: of both services and of the whole platform.
    no_changes: what is known where there are none.
    """

    victim: str
    aggressor: str
    ratio: float | None
    gpus: list[PairGpu]
    summary: str
    summary_clauses: list[ClauseJson]
    incident: PairIncident | None
    changes: list[ChangeMark]
    no_changes: str


def pair_detail(snapshot: Snapshot, pairs_: Sequence[Pair], victim: str, aggressor: str) -> PairDetail:
    """The selected pair. Services that share no GPU have no GPUs, and a sentence that says so.

    pairs_: all pairs of the snapshot. victim, aggressor: names of services as the URL has them.
    """
    world = snapshot.world
    known = world.services if world else ()
    services = tuple(find_service(text, known) for text in (victim, aggressor))
    pair = next((item for item in pairs_ if (item.victim, item.aggressor) == services), None)
    victim_name, aggressor_name = str(services[0] or victim), str(services[1] or aggressor)
    incident, gpus = None, []
    if world is None or pair is None:
        unknown = [text for text, service in zip((victim, aggressor), services, strict=True) if service is None]
        summary = text(no_shared_gpu(victim_name, aggressor_name))
        if unknown:
            summary = filled(EMPTY["unknown_service"], service=in_words(unknown[0]))
    else:
        current = open_incidents(snapshot)
        incident = next((item for item in current if (item.service, item.stated_suspect.service) == services), None)
        wait = 0.0 if pair.ratio is not None and pair.ratio < MIN_WAIT_RATIO else pair.ratio
        said = pair_clauses(pair.victim, pair.aggressor, wait, len(pair.measured_gpus), _latency(world, pair.victim))
        summary = headline_clauses(incident) if incident else said
        busy = {(row.gpu, row.service): value for row, value in zip(world.tenants, last(world.busy), strict=True)}
        gpus = [
            PairGpu(gpu.label, ratio, busy.get((gpu, pair.victim)), busy.get((gpu, pair.aggressor)))
            for gpu, ratio in sorted(pair.gpus, key=lambda row: (-(row[1] or 0.0), row[0]))
        ]
    ratio, opened = pair.ratio if pair else None, _incident(incident) if incident else None
    both = {service for service in services if service}
    changes = change_mark_rows(world.changes, world.time - CHANGES_SECONDS, world.time, both) if world else []
    untracked = sorted(str(service) for service in both if world and service not in world.change_tracked)
    none = no_changes(untracked, len(both), CHANGES_DURING)
    return PairDetail(
        victim_name, aggressor_name, ratio, gpus, joined_text(summary), clauses(summary), opened, changes, none
    )


def _incident(item: Incident) -> PairIncident:
    since, opened, paged = map(number_of_time, (item.since, item.opened, item.paged))
    certainty = number(item.confidence), item.confidence_level, item.quality
    suspicion = clauses(suspicion_clauses(item))
    return PairIncident(item.id, item.severity, item.state, since, opened, paged, *certainty, suspicion, actions(item))


def _latency(world: World, victim: Service) -> Text:
    """The p95 of the affected service, and its median over the World's times; empty for no data."""
    if victim not in world.services:
        return ()
    row = world.services.index(victim)
    values = world.red.p95[row : row + 1]
    (current,) = last_median(values)
    if current is None:
        return ()
    return filled(PAIR_TEXTS["latency"], p95=duration(current), median=duration(float(np.nanmedian(values))))
