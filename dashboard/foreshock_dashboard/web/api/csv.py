"""Lists as CSV (RFC 4180), for spreadsheets: the same rows as in JSON, one line each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import Response

from foreshock_dashboard.common.csv_text import csv_text
from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.web.api.answers import RouteContext
from foreshock_dashboard.web.api.forecast_routes import what_if
from foreshock_dashboard.web.api.list_routes import services
from foreshock_dashboard.web.api.parameters import CapacityParameters, CsvTraceParameters, InventoryParameters
from foreshock_dashboard.web.http.responses import CSV, download
from foreshock_dashboard.web.pages.capacity.current import current_rows, measured
from foreshock_dashboard.web.pages.fleet.data import COLUMNS, table_rows
from foreshock_dashboard.web.state import lists
from foreshock_dashboard.web.state.capacity_json import CURRENT_FIELDS, FORECAST_FIELDS, forecast
from foreshock_dashboard.web.state.parameters import AsOf
from foreshock_dashboard.web.state.service_history import HistoryCache

MAX_NAME_LENGTH = 40
"""Characters of an unknown name that an error repeats."""

LISTS: Mapping[str, tuple[Sequence[str], Callable[[HistoryCache, Snapshot], Iterable[object]]]] = {
    "services": (lists.ServiceRow.columns(), lambda histories, snapshot: services(histories, snapshot)["services"]),
    "edges": (lists.EdgeRow.columns(), lambda histories, snapshot: services(histories, snapshot)["edges"]),
    "pairs": (lists.PairRow.columns(), lambda _, snapshot: lists.contention(snapshot)["pairs"]),
    "incidents": (
        (
            *("id", "severity", "state", "cascading", "cause", "service", "suspect.service", "suspect.gpus"),
            *("since", "opened", "paged", "resolved", "confidence", "quality", "summary", "actions.text"),
        ),
        lambda _, snapshot: lists.incidents(snapshot)["incidents"],
    ),
    "headroom": (CURRENT_FIELDS, lambda _, snapshot: current_rows(snapshot, measured(snapshot))),
    "targets": (
        lists.TargetRow.columns(),
        lambda _, snapshot: map(lists.target, snapshot.world.targets) if snapshot.world else (),
    ),
}
"""Columns and rows of the lists without parameters of their own."""
TRACES = (
    *("trace_id", "start", "duration_seconds", "gpu_wait_seconds", "service", "operation", "spans", "errors"),
    *("services", "root"),
)


def table(columns: Sequence[str], rows: Iterable[object]) -> bytes:
    """UTF-8 text with a head line. rows: objects of JSON, or dataclasses that become one."""
    return csv_text(columns, rows).encode()


def add_csv_routes(context: RouteContext) -> None:
    """Register the CSV routes."""
    hub, responder = context.hub, context.responder
    router = APIRouter(prefix="/csv")
    described: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}
    get = partial(router.get, response_class=Response, responses=described)

    @get("/gpus", summary="The inventory of GPUs as CSV", name="csv_gpus")
    def gpus(query: Annotated[InventoryParameters, Query()]) -> Response:
        def made(snapshot: Snapshot) -> bytes:
            return table(COLUMNS, table_rows(snapshot, query.selection, context.gpus.nvlink(snapshot)))

        return _file("gpus", *responder.made_of_snapshot(f"csv gpus {query.selection}", query.at, made))

    @get("/traces", summary="The rows of /api/traces as CSV", name="csv_traces")
    async def trace_list(query: Annotated[CsvTraceParameters, Query()]) -> Response:
        snapshot = hub.snapshot
        query = query.model_copy(update={"end": query.end or query.at})
        rows = await context.traces.listed(query, snapshot.services)
        return _file("traces", snapshot, table(TRACES, rows["traces"]))

    @get("/forecast", summary="The forecast of each service and pool as CSV", name="csv_forecast")
    def forecast_(query: Annotated[CapacityParameters, Query()]) -> Response:
        snapshot, past = responder.snapshot_at(query.at)
        capacity, world = CapacityForecast() if past else hub.capacity, snapshot.world
        rows = forecast(what_if(capacity, world, query).applied(capacity, world), hub.now(), world=world)["loads"]
        return download(f"foreshock-forecast-{hub.now():.0f}.csv", table(FORECAST_FIELDS, rows), CSV)

    @get("/{name}", summary="A list as CSV: services, edges, pairs, incidents, headroom, or targets", name="csv")
    def named(name: str, query: Annotated[AsOf, Query()]) -> Response:
        if name not in LISTS:
            known = ", ".join(sorted([*LISTS, "cost", "forecast", "gpus", "traces"]))
            raise HTTPException(404, f"unknown list {name[:MAX_NAME_LENGTH]!r} (allowed: {known})")
        columns, rows = LISTS[name]

        def made(snapshot: Snapshot) -> bytes:
            return table(columns, rows(context.histories, snapshot))

        return _file(name, *responder.made_of_snapshot(f"csv {name}", query.at, made))

    context.api.include_router(router)


def _file(name: str, snapshot: Snapshot, body: bytes) -> Response:
    """The file is named after the time of its data; `-preview` says that incidents are not known yet."""
    at = snapshot.world.time if snapshot.world else 0.0
    return download(f"foreshock-{name}-{at:.0f}{'-preview' if snapshot.is_preview else ''}.csv", body, CSV)
