"""The addresses of what pages show and of lists as CSV: parameters, caching and status codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException

from foreshock_dashboard.model.snapshot import HubView, Snapshot
from foreshock_dashboard.model.types import Floats, Json
from foreshock_dashboard.web.api import csv
from foreshock_dashboard.web.api.openapi import document
from foreshock_dashboard.web.http.json_cache import encode
from foreshock_dashboard.web.http.responses import CSV, Answers, download
from foreshock_dashboard.web.pages.cascade.data import cascade
from foreshock_dashboard.web.pages.contention import pair
from foreshock_dashboard.web.pages.contention.data import contention
from foreshock_dashboard.web.pages.fleet import data, gpu_queries
from foreshock_dashboard.web.pages.fleet.gpu import Hardware, found, gpu_detail
from foreshock_dashboard.web.pages.traces.exemplars import wanted
from foreshock_dashboard.web.pages.traces.reader import TraceReads
from foreshock_dashboard.web.panels.topology import TopologyCache
from foreshock_dashboard.web.state import conditions
from foreshock_dashboard.web.state.params import only, time_parameter
from foreshock_dashboard.web.state.time_range import SHORTEST, USUAL

MOST_TRACES = "1000"
"""Traces in a CSV unless it is asked for fewer."""
Given = Mapping[str, str]
Make = Callable[[Snapshot, Given], Json]


class Feeds:
    """Answers from one hub."""

    def __init__(self, hub: HubView, answers: Answers, topology: TopologyCache, reads: TraceReads) -> None:
        self._hub, self._answers, self._topology, self._reads = hub, answers, topology, reads
        self._health: tuple[int, dict[str, Hardware]] = (-1, {})
        self._nvlink: tuple[int, Floats | None] = (-1, None)

    def register(self, app: FastAPI) -> None:
        """Add all addresses to the app."""
        pages: dict[str, tuple[tuple[str, ...], Make]] = {
            "contention": (("victim", "aggressor"), self._contention),
            "fleet": (("metric", "gpu", "q", "sort"), self._fleet),
            "cascade": (("from", "incident", "service"), self._cascade),
        }
        for name, (takes, make) in pages.items():
            path = f"/api/pages/{name}"
            app.add_api_route(path, self._feed(name, takes, make), name=f"page_{name}", **document(f"page_{name}"))
        app.add_api_route(
            "/api/pages/contention/traces", self._exemplars, name="page_exemplars", **document("page_exemplars")
        )
        app.add_api_route("/api/csv/{name}", self._csv, name="csv", **document("csv"))

    def _feed(self, name: str, takes: tuple[str, ...], make: Make) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            given = request.query_params
            only(given, ("at", *takes))
            key = f"page_{name}?{urlencode([(one, given[one].strip()) for one in takes if given.get(one)])}"

            def told(snapshot: Snapshot, past: bool) -> Json:
                return {"topology": self._topology.of(snapshot, past)["id"]} | make(snapshot, given)

            return self._answers.tick(request, key, told)

        return answer

    def _contention(self, snapshot: Snapshot, given: Given) -> Json:
        return contention(snapshot, given.get("victim", "").strip(), given.get("aggressor", "").strip())

    async def _exemplars(self, request: Request) -> Response:
        given = request.query_params
        only(given, ("victim", "aggressor", "start", "end"))
        snapshot = self._hub.snapshot
        known = snapshot.world.services if snapshot.world else ()
        found = [pair.named(given.get(who, "").strip(), known) for who in ("victim", "aggressor")]
        if (victim := found[0]) is None or (aggressor := found[1]) is None:
            raise HTTPException(404, "victim and aggressor have to be services; /api/services lists those known")
        body = await self._reads.exemplars(wanted(given, victim, self._hub.now()), aggressor)
        return self._answers.send(request, encode(conditions.envelope(snapshot) | body))

    def _cascade(self, snapshot: Snapshot, given: Given) -> Json:
        world, now = snapshot.world, self._hub.now()
        end = world.time if world else now
        start = min(time_parameter(given, "from", now, end - USUAL), end - SHORTEST)
        wide = self._hub.over(start, end) if world and start < world.times[0] - world.step else None
        return cascade(snapshot, start, given.get("incident", "").strip(), given.get("service", "").strip(), wide)

    def _fleet(self, snapshot: Snapshot, given: Given) -> Json:
        wanted, label = data.asked(given), given.get("gpu", "").strip()
        nvlink = self._nvlink_of(snapshot) if "nvlink" in (wanted.metric, wanted.sort.removeprefix("-")) else None
        detail = gpu_detail(snapshot, label, self._health_of(snapshot, label)) if label else None
        return data.fleet(snapshot, wanted, nvlink) | {"open": detail}

    def _health_of(self, snapshot: Snapshot, label: str) -> Hardware:
        """Read once a tick for each GPU: whoever looks at one looks at it for long."""
        world = snapshot.world
        row = found(world, label) if world else None
        if world is None or row is None:
            return Hardware()
        kept = self._health
        if kept[0] != snapshot.seq:
            kept = self._health = (snapshot.seq, {})
        if (known := kept[1].get(label)) is None:
            known = kept[1][label] = gpu_queries.hardware_of(self._hub.metrics, world.gpus[row], world.time)
        return known

    def _nvlink_of(self, snapshot: Snapshot) -> Floats | None:
        if snapshot.world is None:
            return None
        seq, known = self._nvlink
        if seq != snapshot.seq or known is None:
            known = gpu_queries.nvlink_of(self._hub.metrics, snapshot.world)
            self._nvlink = (snapshot.seq, known)
        return known

    async def _csv(self, request: Request, name: str) -> Response:
        if name == "traces":
            return await self._traces_csv(request)
        return await run_in_threadpool(self._list_csv, request, name)

    def _list_csv(self, request: Request, name: str) -> Response:
        if name != "gpus" and name not in csv.LISTS:
            known = ", ".join(sorted([*csv.LISTS, "gpus", "traces"]))
            raise HTTPException(404, f"no list {name[:40]}: use one of {known}")
        only(request.query_params, ("at", "q", "sort") if name == "gpus" else ("at",))
        snapshot, _ = self._answers.at(request)
        if name == "gpus":
            rows = data.table_rows(snapshot, data.asked(request.query_params), self._nvlink_of(snapshot))
            return _file(name, snapshot, csv.table(data.COLUMNS, rows))
        listing = csv.LISTS[name]
        return _file(name, snapshot, csv.table(listing.columns, listing.rows(snapshot)))

    async def _traces_csv(self, request: Request) -> Response:
        """The rows that `/api/traces` gives for the same parameters; their waits where it gives them."""
        snapshot = self._hub.snapshot
        given = _of_traces(request.query_params)
        known = snapshot.world.services if snapshot.world else ()
        rows = (await self._reads.listed(given, known))["traces"]
        return _file("traces", snapshot, csv.table(csv.TRACES, rows))


def _of_traces(given: QueryParams) -> QueryParams:
    """Parameters of a list of traces, each as often as it was given; `at` is the end of the range there."""
    listed = [(name, value) for name, value in given.multi_items() if name != "at"]
    usual = {"limit": MOST_TRACES, "end": given.get("at", "")}
    return QueryParams([*listed, *((name, value) for name, value in usual.items() if value and not given.get(name))])


def _file(name: str, snapshot: Snapshot, body: bytes) -> Response:
    """A list whose name says of which instant it is."""
    at = snapshot.world.time if snapshot.world else 0.0
    return download(f"foreshock-{name}-{at:.0f}.csv", body, CSV)
