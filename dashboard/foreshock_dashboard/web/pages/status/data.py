"""The payload of the Status page: stale targets, missing signals, dropped data, and full stores. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Literal

import numpy as np
from typing_extensions import TypedDict

from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.samples import MAX_SERIES
from foreshock_dashboard.model.service import qualified, split_cluster
from foreshock_dashboard.model.snapshot import Snapshot, clusters_of
from foreshock_dashboard.model.span import TraceQuery, TraceSource
from foreshock_dashboard.model.types import Floats, Json
from foreshock_dashboard.model.world import Target, World
from foreshock_dashboard.model.world_sections import UnjoinedServer
from foreshock_dashboard.render.clause import Clause, Text, filled, filled_text, joined_text, listed, place, text, time
from foreshock_dashboard.render.units import counted, minutes_of, name_list, plural
from foreshock_dashboard.render.words.panels import EMPTY, HISTORY_BEING_READ
from foreshock_dashboard.render.words.shell import CONNECTION_TEXTS
from foreshock_dashboard.render.words.signals import HUB_SIGNALS
from foreshock_dashboard.render.words.status import DATA_STATES, JOIN_REMEDIES, PROBLEMS, STATUS_TEXTS, TRACE_AGES
from foreshock_dashboard.web.state.freshness import fresh_seconds, freshness, is_stale, serving_services
from foreshock_dashboard.web.state.incident_json import ClauseJson, clauses
from foreshock_dashboard.web.state.numbers import Row, number

State = Literal["healthy", "warning", "critical", "unknown", "learning", "empty"]
MAX_TARGETS = 400
"""Targets on the page, the stale ones first."""
MAX_TRACE_SECONDS = 300.0
"""Age up to which the newest trace is searched."""
MAX_PROBLEM_LENGTH = 80
"""Characters of a problem that the headline has room for."""


class DataHealth(TypedDict):
    """Whether the data is fresh and complete, in one sentence, and the problems. The headline may be one of them."""

    state: State
    headline: str
    clauses: list[ClauseJson]
    problems: list[str]


class TargetLine(Row):
    """A target and its last scrape. age: seconds since then."""

    instance: str
    job: str
    up: bool | None
    age: float | None
    stale: bool
    scrape_seconds: float | None
    samples: int | None
    error: str


class SignalRow(Row):
    """A kind of data, how many objects of a kind report it, the features that need it, and how to collect it.

    unknown: the question that stays unanswerable without it.
    """

    name: str
    kind: str
    count: int
    available: bool
    features: str
    unknown: str
    remedy: str


class UnjoinedRow(Row):
    """A model server that belongs to no service with requests. service: the one that it is shown as."""

    server: str
    job: str
    model: str
    service: str
    remedy: str


class NewestTrace(TypedDict):
    """The newest trace. age: seconds since it began; None without one. note: why there is none."""

    age: float | None
    note: str


class StatusPage(TypedDict):
    """The payload of the Status page. hidden: targets that do not fit.

    data_age: seconds since the newest evaluated data; None in time travel. step: seconds between evaluations.
    """

    health: DataHealth
    version: str
    ready: bool
    past: bool
    data_age: float | None
    step: float | None
    newest_trace: NewestTrace
    targets: list[TargetLine]
    hidden: int
    unjoined: list[UnjoinedRow]
    signals: list[SignalRow]
    missing: list[str]
    hub: Json


_UNKNOWN_TRACE: NewestTrace = {"age": None, "note": TRACE_AGES["unknown"]}


def status(
    snapshot: Snapshot,
    hub: Json,
    ready: tuple[bool, str],
    now: float,
    version: str,
    *,
    newest_trace: NewestTrace = _UNKNOWN_TRACE,
    past: bool = False,
) -> StatusPage:
    """The payload of the page. hub: the hub's own status; ready: whether it can answer, and the reason if not.

    now: the hub's time, Unix seconds. past: the snapshot is one of time travel; the
    hub's status is always of now.
    """
    world = snapshot.world
    scrapes = {} if past else {str(row.get("instance")): row for row in _list(hub.get("scrapes"))}
    known = world.targets if world else ()
    rows = [
        _target(target, scrapes.get(split_cluster(target.instance)[1], {}), world.step if world else 0.0)
        for target in known
    ]
    has_several = len(clusters_of(snapshot)) > 1
    rows += (_scraped(row, str(row.get("cluster") or "") * has_several) for row in _others(known, scrapes.values()))
    rows.sort(key=lambda row: (not row.stale, -(row.age or 0.0), row.instance))
    return {
        "health": data_health(snapshot, hub, ready, now, past=past),
        "version": version,
        "ready": ready[0],
        "past": past,
        "data_age": None if world is None or past else number(max(0.0, now - world.time)),
        "step": world.step if world else None,
        "newest_trace": newest_trace,
        "targets": rows[:MAX_TARGETS],
        "hidden": max(0, len(rows) - MAX_TARGETS),
        "unjoined": unjoined(world, hub),
        "signals": signals(world),
        "missing": list(world.missing) if world else [],
        "hub": hub,
    }


def newest_trace(traces: TraceSource, now: float, *, remote: str = "") -> NewestTrace:
    """The age of the newest trace at `now`, Unix seconds, where it began in the last `MAX_TRACE_SECONDS`.

    remote: the kind of a remote trace store, which is not searched: a slow one would delay the page that reports it.
    """
    if remote:
        return {"age": None, "note": filled_text(TRACE_AGES["remote"], kind=remote)}
    try:
        found = traces.search(TraceQuery(now - MAX_TRACE_SECONDS, now, limit=1))
    except SourceError:
        return _UNKNOWN_TRACE
    if not found:
        return {"age": None, "note": filled_text(TRACE_AGES["none"], minutes=round(MAX_TRACE_SECONDS / 60))}
    return {"age": number(max(0.0, now - found[0].start)), "note": ""}


def data_health(
    snapshot: Snapshot, hub: Json, ready: tuple[bool, str], now: float, *, past: bool = False
) -> DataHealth:
    """The health of the data; the worst problem makes the headline."""
    world = snapshot.world
    if world is None:
        if snapshot.error:
            return _health("critical", filled(CONNECTION_TEXTS["unreadable"], error=snapshot.error))
        return _health("empty", text(EMPTY["first_evaluation"]))
    seen, problems = freshness(world), _problems(snapshot, world, hub, ready)
    lag = now - world.time
    past = past or snapshot.bounds is not None
    if snapshot.error and not past:
        return _health("critical", _state("stale", time=time(world.time), error=snapshot.error), problems)
    if seen.no_data and not past:
        if seen.since is None:  # a rate takes two scrapes, so this is how every hub begins
            return _health("unknown", _state("no_samples", kind=seen.no_data), problems)
        return _health("unknown", _state("no_fresh_samples", kind=seen.no_data, time=time(seen.since)), problems)
    if lag > 2 * fresh_seconds(world.step) and not past:
        return _health("critical", _state("lagging", seconds=round(lag)), problems)
    if snapshot.is_preview:
        return _health("learning", text(HISTORY_BEING_READ), problems)
    if not snapshot.learning.done:
        return _health("learning", _state("learning", progress=minutes_of(*snapshot.learning)), problems)
    if problems:
        first = problems[0]
        brief = first if len(first) <= MAX_PROBLEM_LENGTH else first.partition(": ")[0]
        return _health("warning", filled(STATUS_TEXTS["degraded"], problem=brief), problems)
    reporting = filled_text(
        DATA_STATES["reporting"],
        gpus=counted(seen.gpus, "GPU"),
        services=counted(seen.services, "service"),
        serving=len(serving_services(world)),
    )
    if past:
        return _health("healthy", _state("no_loss_then", time=time(world.time), reporting=reporting))
    return _health("healthy", _state("no_loss", reporting=reporting))


def _state(name: str, **values: str | int | Clause) -> Text:
    return filled(DATA_STATES[name], **values)


def _health(state: State, headline: Text, problems: Sequence[str] = ()) -> DataHealth:
    return {
        "state": state,
        "headline": joined_text(headline),
        "clauses": clauses(headline),
        "problems": list(problems),
    }


def _problems(snapshot: Snapshot, world: World, hub: Json, ready: tuple[bool, str]) -> list[str]:
    """The problems of the data and of the hub, without the error of the snapshot."""
    seen, problems = freshness(world), []
    if not ready[0] and ready[1] and ready[1] != snapshot.error:
        problems.append(ready[1])
    others = _others(world.targets, _list(hub.get("scrapes")))
    stale = [target.instance for target in seen.stale_targets]
    stale += [str(row.get("instance")) for row in others if row.get("up") is False]
    if stale:
        count = counted(len(world.targets) + len(others), "target")
        names = joined_text(listed(list(map(place, stale))))
        problems.append(filled_text(PROBLEMS["targets"], count=len(stale), targets=count, names=names))
    if seen.stale_gpus:
        problems.append(
            filled_text(PROBLEMS["gpus"], count=f"{len(seen.stale_gpus):,}", gpus=counted(len(world.gpus), "GPU"))
        )
    if seen.stale_services:
        names = joined_text(listed(seen.stale_services))
        few, all_ = len(seen.stale_services), counted(len(world.services), "service")
        problems.append(filled_text(PROBLEMS["services"], count=few, services=all_, names=names))
    problems += _without_cluster(snapshot, world)
    problems += [f"job {row['job']}: {row['error']}" for row in _list(hub.get("discovery")) if row.get("error")]
    store, receiver, spans = (_dict(hub.get(name)) for name in ("store", "receiver", "spans"))
    if store.get("last_error"):
        problems.append(filled_text(PROBLEMS["store"], error=store["last_error"]))
    if store.get("expiry_paused"):
        problems.append(str(store["expiry_paused"]))
    if refused := sum(_count(value) for value in _dict(receiver.get("refused_spans")).values()):
        problems.append(filled_text(PROBLEMS["refused"], spans=counted(refused, "span")))
    if dropped := _count(store.get("dropped_samples")):
        limit = _count(store.get("series_limit"))
        remedy = PROBLEMS["fewer_series" if limit >= MAX_SERIES else "more_memory"]
        samples = counted(dropped, "sample")
        problems.append(filled_text(PROBLEMS["dropped_samples"], samples=samples, limit=f"{limit:,.0f}", remedy=remedy))
    if dropped := _count(store.get("dropped_spans")):
        problems.append(filled_text(PROBLEMS["dropped_spans"], spans=counted(dropped, "span")))
    notifications = _dict(hub.get("notifications"))
    problems += [
        filled_text(PROBLEMS["notifications"], name=row["name"], error=row["error"])
        for row in failing_channels(notifications)
    ]
    if notifications.get("error"):
        problems.append(str(notifications["error"]))
    if corrupt := _count(store.get("corrupt")):
        problems.append(filled_text(PROBLEMS["corrupt"], blocks=counted(corrupt, "corrupt store block")))
    if problem := _dict(hub.get("shared")).get("problem"):
        problems.append(filled_text(PROBLEMS["shared"], problem=problem))
    shard = _dict(hub.get("shard"))
    if shard and not shard["clusters"]:
        problems.append(filled_text(PROBLEMS["shard"], part=shard["part"]))
    journal = _dict(hub.get("journal"))
    problems.extend(str(journal[key]) for key in ("recovery", "last_error") if journal.get(key))
    if spans.get("warning"):
        problems.append(str(spans["warning"]))
    if uncounted := _count(_dict(spans.get("counts")).get("foreshock_spans_uncounted_total")):
        problems.append(filled_text(PROBLEMS["uncounted"], spans=counted(uncounted, "span")))
    return problems + (_unmatched_options(_list(hub.get("unmatched"))) if world.services else [])


def _without_cluster(snapshot: Snapshot, world: World) -> list[str]:
    """The services, GPU hosts, and targets whose series name no cluster, where others do."""
    if len(clusters_of(snapshot)) < 2:
        return []
    objects = (
        ("service", map(str, world.services), PROBLEMS["set_attribute"]),
        ("GPU host", (gpu.host for gpu in world.gpus), PROBLEMS["set_label"]),
        ("target", (target.instance for target in world.targets), PROBLEMS["set_label"]),
    )
    problems = []
    for noun, found, remedy in objects:
        names = tuple(dict.fromkeys(found))
        if bare := [name for name in names if not split_cluster(name)[0]]:
            all_ = counted(len(names), noun)
            values = {"objects": all_, "names": name_list(bare), "remedy": remedy}
            problems.append(filled_text(PROBLEMS["no_cluster"], count=len(bare), **values))
    return problems


def _unmatched_options(rows: Sequence[Json]) -> list[str]:
    """Options with names of services without data, each with the most similar name."""
    by_option: dict[str, list[str]] = {}
    for row in rows:
        meant = f" (did you mean {row['nearest']}?)" if row["nearest"] else ""
        by_option.setdefault(str(row["option"]), []).append(f"{row['service']}{meant}")
    return [
        filled_text(
            PROBLEMS["unmatched"],
            option=option,
            services=counted(len(names), "service"),
            names=name_list(names),
            start=plural(len(names), "it starts", "they start"),
        )
        for option, names in by_option.items()
    ]


def signals(world: World | None) -> list[SignalRow]:
    """Each kind of data, whether it is available or not."""
    if world is None:
        return []
    servers, capacity, network, hardware = world.model_servers, world.capacity, world.network, world.hardware
    found: Mapping[str, Floats | None] = {
        "Requests": world.red.rate,
        "Calls": world.calls.rate,
        "GPUs": world.utilization,
        "GPU use by service": world.busy,
        "GPU wait": world.gpu_wait_by,
        "GPU health": hardware.clock if hardware else None,
        "Model servers": servers.running if servers else None,
        "Replicas": capacity.ready if capacity else None,
        "Quota": capacity.quota if capacity else None,
        "Network": network.used if network else None,
    }
    listed = []
    for name, values in found.items():
        count = 0 if values is None or not values.size else int(np.isfinite(values).any(axis=1).sum())
        kind, features, unknown, remedy = HUB_SIGNALS[name]
        listed.append(SignalRow(name, kind, count, count > 0, features, unknown, remedy))
    return listed


def unjoined(world: World | None, hub: Json) -> list[UnjoinedRow]:
    """Model servers without a service, and how to join them; at most `MAX_TARGETS`."""
    scraped = {str(row.get("instance")) for row in _list(hub.get("scrapes"))}
    return [
        UnjoinedRow(item.replica.instance, item.job, item.model, str(item.replica.service), _join_remedy(item, scraped))
        for item in (world.unjoined[:MAX_TARGETS] if world else ())
    ]


def _join_remedy(item: UnjoinedServer, scraped: Set[str]) -> str:
    """How to join a server. scraped: the instances that the hub scrapes itself, which its options name."""
    if item.candidates:
        names = joined_text(listed(item.candidates))
        return filled_text(JOIN_REMEDIES["candidates"], names=names)
    option = f", or --targets SERVICE={item.instance}" if item.instance in scraped else ""
    return filled_text(JOIN_REMEDIES["none"], option=option)


def failing_channels(notifications: Json) -> list[Json]:
    """The receivers of notifications whose last attempt failed."""
    return [row for row in _list(notifications.get("channels")) if row.get("error")]


def _target(target: Target, scrape: Json, step: float) -> TargetLine:
    age = None if target.age is None else number(target.age)
    return TargetLine(target.instance, target.job, target.up, age, is_stale(target, step), *_last_scrape(scrape))


def _others(known: Sequence[Target], scrapes: Iterable[Json]) -> list[Json]:
    """The hub's own targets that the World does not have: those without GPUs, and those that never answered."""
    instances = {split_cluster(target.instance)[1] for target in known}
    return [row for row in scrapes if str(row.get("instance")) not in instances]


def _scraped(row: Json, cluster: str) -> TargetLine:
    instance, job, up = qualified(cluster, str(row.get("instance"))), str(row.get("job") or ""), row.get("up")
    return TargetLine(instance, job, up, row.get("age_seconds"), up is not True, *_last_scrape(row))


def _last_scrape(row: Json) -> tuple[float | None, int | None, str]:
    """Seconds, samples, and error."""
    return row.get("duration_seconds"), row.get("samples"), row.get("error") or ""


def _dict(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Json]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _count(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
