"""The payload of the Status page: stale targets, missing signals, dropped data, and full stores. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from typing_extensions import TypedDict

from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Floats, Json
from foreshock_dashboard.model.world import Target, World
from foreshock_dashboard.render.clause import Text, joined_text, text, time
from foreshock_dashboard.render.units import counted, name_list, plural
from foreshock_dashboard.web.state.freshness import fresh_seconds, freshness, is_stale
from foreshock_dashboard.web.state.incident_json import ClauseJson, clauses
from foreshock_dashboard.web.state.numbers import Row, number

State = Literal["calm", "warning", "critical", "blind", "learning", "empty"]
MAX_TARGETS = 400
"""Targets on the page, the stale ones first."""
NEARLY_FULL_RATIO = 0.9
"""Used share from which the store, or the series of spans, is nearly full."""
MAX_DOUBT_LENGTH = 80
"""Characters of a doubt that the headline has room for."""


class TrustJson(TypedDict):
    """Whether the figures can be trusted, in one sentence, and the doubts."""

    state: State
    headline: str
    clauses: list[ClauseJson]
    doubts: list[str]


class TargetLine(Row):
    """A target and its last scrape."""

    instance: str
    job: str
    up: bool | None
    age: float | None
    silent: bool
    took: float | None
    samples: int | None
    error: str


class SignalRow(Row):
    """A kind of data, the features that need it, and how to collect it."""

    name: str
    of: str
    count: int
    there: bool
    lost: str
    remedy: str


class StatusPage(TypedDict):
    """The payload of the Status page. hidden: targets that do not fit."""

    trust: TrustJson
    version: str
    ready: bool
    past: bool
    lag: float | None
    step: float | None
    targets: list[TargetLine]
    hidden: int
    signals: list[SignalRow]
    missing: list[str]
    hub: Json


def status(
    snapshot: Snapshot, hub: Json, ready: tuple[bool, str], now: float, version: str, *, past: bool = False
) -> StatusPage:
    """The payload of the page. hub: the hub's own status; ready: whether it can answer, and the reason if not.

    now: the hub's time, Unix seconds. past: the snapshot is one of time travel; the hub's status is always of now.
    """
    world = snapshot.world
    scrapes = {} if past else {str(row.get("instance")): row for row in _list(hub.get("scrapes"))}
    if world and world.targets:
        rows = [_target(target, scrapes.get(target.instance, {}), world.step) for target in world.targets]
    else:
        rows = [_scraped(row) for row in scrapes.values()]
    rows.sort(key=lambda row: (not row.silent, -(row.age or 0.0), row.instance))
    return {
        "trust": trust(snapshot, hub, ready, now, past=past),
        "version": version,
        "ready": ready[0],
        "past": past,
        "lag": None if world is None or past else number(max(0.0, now - world.time)),
        "step": world.step if world else None,
        "targets": rows[:MAX_TARGETS],
        "hidden": max(0, len(rows) - MAX_TARGETS),
        "signals": signals(world),
        "missing": list(world.missing) if world else [],
        "hub": hub,
    }


def trust(snapshot: Snapshot, hub: Json, ready: tuple[bool, str], now: float, *, past: bool = False) -> TrustJson:
    """The trust in the figures; the worst doubt makes the headline."""
    world = snapshot.world
    if world is None:
        if snapshot.error:
            return _trust("critical", text(f"No: foreshock cannot read its source: {snapshot.error}"))
        return _trust("empty", text("Not yet: the hub has not finished its first look at its source."))
    seen, doubts = freshness(world), _doubts(snapshot, world, hub, ready)
    lag = now - world.time
    past = past or snapshot.bounds is not None
    if snapshot.error and not past:
        still = text("No: figures stand still since ", time(world.time), f": {snapshot.error}.")
        return _trust("critical", still, doubts)
    if seen.no_data and not past:
        if seen.since is None:  # a rate takes two scrapes, so this is how every hub begins
            return _trust("blind", text(f"Not yet: no data has come from any {seen.no_data} so far."), doubts)
        no_data = text(f"No: there is no fresh data from any {seen.no_data} since ", time(seen.since), ".")
        return _trust("blind", no_data, doubts)
    if lag > 2 * fresh_seconds(world.step) and not past:
        return _trust("critical", text(f"No: the newest figures are {lag:.0f} s old; the hub is behind."), doubts)
    if not snapshot.learning.done:
        have, need = snapshot.learning.have / 60, snapshot.learning.need / 60
        yet = f"Figures yes, warnings not yet: what is usual is still being learned ({have:.0f} of {need:.0f} min)."
        return _trust("learning", text(yet), doubts)
    if doubts:
        brief = doubts[0] if len(doubts[0]) <= MAX_DOUBT_LENGTH else doubts[0].partition(": ")[0]
        return _trust("warning", text(f"Mostly: {brief}."), doubts)
    what = f"{seen.gpus} GPUs and {seen.services} services"
    if past:
        then = text("Yes, as of ", time(world.time), f": {what} were fresh, and nothing is known to be lost.")
        return _trust("calm", then)
    return _trust("calm", text(f"Yes: {what} are fresh, every target answers, and nothing was dropped."))


def _trust(state: State, answer: Text, doubts: Sequence[str] = ()) -> TrustJson:
    return {"state": state, "headline": joined_text(answer), "clauses": clauses(answer), "doubts": list(doubts)}


def _doubts(snapshot: Snapshot, world: World, hub: Json, ready: tuple[bool, str]) -> list[str]:
    """The doubts that the headline does not contain."""
    seen, doubts = freshness(world), []
    if not ready[0] and ready[1] and ready[1] != snapshot.error:
        doubts.append(ready[1])
    if stale := seen.stale_targets:
        names = name_list([target.instance for target in stale])
        doubts.append(f"{_some(len(stale), len(world.targets), 'target')} silent: {names}")
    if seen.stale_gpus:
        doubts.append(f"{_some(len(seen.stale_gpus), len(world.gpus), 'GPU')} without fresh data")
    if seen.stale_services:
        names = name_list([str(service) for service in seen.stale_services])
        doubts.append(f"{_some(len(seen.stale_services), len(world.services), 'service')} without fresh data: {names}")
    store, receiver, spans = (_dict(hub.get(name)) for name in ("store", "receiver", "spans"))
    if store.get("last_error"):
        doubts.append(f"the store fails: {store['last_error']}")
    if rejected := sum(_count(value) for value in _dict(receiver.get("rejected")).values()):
        doubts.append(f"{counted(rejected, 'span was', 'spans were')} rejected")
    if dropped := _count(store.get("dropped")):
        doubts.append(f"{counted(dropped, 'sample or span was', 'samples or spans were')} dropped past a bound")
    if corrupt := _count(store.get("corrupt")):
        pieces = counted(corrupt, "damaged piece of the store was", "damaged pieces of the store were")
        doubts.append(f"{pieces} set aside")
    if spans.get("warning"):
        doubts.append(str(spans["warning"]))
    if uncounted := _count(_dict(spans.get("counts")).get("foreshock_spans_uncounted_total")):
        doubts.append(counted(uncounted, "span was", "spans were") + " kept but not counted")
    return doubts + (_unmatched_options(_list(hub.get("in_vain"))) if world.services else [])


def _unmatched_options(rows: Sequence[Json]) -> list[str]:
    """Options with names of unknown services, each with the most similar name."""
    by_flag: dict[str, list[str]] = {}
    for row in rows:
        meant = f" ({row['nearest']}?)" if row["nearest"] else ""
        by_flag.setdefault(str(row["flag"]), []).append(f"{row['service']}{meant}")
    doubts = []
    for flag, names in by_flag.items():
        if len(names) == 1:
            doubt = f"{flag} names a service not seen so far: {names[0]}; correct the name, unless it is still to come"
        else:
            doubt = f"{flag} names {len(names)} services not seen so far: {name_list(names)}"
            doubt += "; correct the names, unless they are still to come"
        doubts.append(doubt)
    return doubts


_SPANS = "send spans by OTLP to this hub, or let --prometheus-url have the span metrics of a Collector or Tempo"
_EXPORTER = "run foreshock-exporter on the GPU hosts and name them in --targets"
_STALLED = "run foreshock-exporter on the GPU hosts: no other exporter tells; nobody waits where no GPU is shared"
_SERVERS = "let /metrics of vLLM, SGLang, TGI or Triton be scraped: --targets, or the Prometheus of --prometheus-url"
_CLUSTER = "let kube-state-metrics be scraped: --targets, or the Prometheus of --prometheus-url"
_HOSTS = "run foreshock-exporter or node_exporter on the hosts"


def signals(world: World | None) -> list[SignalRow]:
    """Each kind of data: the number of objects that report it, the features that need it, and the remedy."""
    if world is None:
        return []
    servers, capacity, network, hardware = world.model_servers, world.capacity, world.network, world.hardware
    queues = "queues, KV cache, time to first token, offered load"
    rows: Sequence[tuple[str, str, Floats | None, str, str]] = (
        ("Requests", "services", world.red.rate, "services, their durations and errors", _SPANS),
        ("Calls", "edges", world.calls.rate, "the service map, and where a cascade goes", _SPANS),
        ("GPUs", "GPUs", world.utilization, "how busy GPUs are", _EXPORTER),
        ("Services on GPUs", "GPU shares", world.busy, "who uses which GPU", _EXPORTER),
        ("Who waits for whom", "pairs", world.stalled_by, "who starves whom", _STALLED),
        ("GPU health", "GPUs", hardware.clock if hardware else None, "throttling and errors of GPUs", _EXPORTER),
        ("Model servers", "services", servers.running if servers else None, queues, _SERVERS),
        ("Replicas", "services", capacity.ready if capacity else None, "replicas wanted, ready and pending", _CLUSTER),
        ("Quota", "pools", capacity.quota if capacity else None, "how many GPUs a pool may still get", _CLUSTER),
        ("Network", "hosts", network.used if network else None, "network faults as a cause", _HOSTS),
    )
    listed = []
    for name, objects, values, features, remedy in rows:
        count = 0 if values is None or not values.size else int(np.isfinite(values).any(axis=1).sum())
        listed.append(SignalRow(name, objects, count, count > 0, features, remedy))
    return listed


def _target(target: Target, scrape: Json, step: float) -> TargetLine:
    age = None if target.age is None else number(target.age)
    return TargetLine(target.instance, target.job, target.up, age, is_stale(target, step), *_last_scrape(scrape))


def _scraped(row: Json) -> TargetLine:
    instance, job, up = str(row.get("instance")), str(row.get("job") or ""), row.get("up")
    return TargetLine(instance, job, up, row.get("age"), up is not True, *_last_scrape(row))


def _last_scrape(row: Json) -> tuple[float | None, int | None, str]:
    """Seconds, samples, and error."""
    return row.get("duration"), row.get("samples"), row.get("error") or ""


def _some(few: int, all_: int, word: str) -> str:
    return f"{few} of {all_} {plural(all_, word)} {plural(few, 'is', 'are')}"


def _dict(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Json]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _count(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
