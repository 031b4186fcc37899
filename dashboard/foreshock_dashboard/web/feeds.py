"""The addresses of what pages show and of lists as CSV: parameters, caching and status codes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from foreshock_dashboard.model.query import Floats, Json
from foreshock_dashboard.model.snapshot import HubView, Snapshot
from foreshock_dashboard.web import fleet, gpu_reads, pair, payloads, table, traces_json
from foreshock_dashboard.web.cascade import cascade
from foreshock_dashboard.web.contention import contention
from foreshock_dashboard.web.encode import PerTick, encode
from foreshock_dashboard.web.exemplars import exemplars, wanted
from foreshock_dashboard.web.gpu_detail import Hardware, found, gpu_detail
from foreshock_dashboard.web.gpu_time import GpuTimes
from foreshock_dashboard.web.now import topology
from foreshock_dashboard.web.params import only, time_parameter, trace_query
from foreshock_dashboard.web.reference import document
from foreshock_dashboard.web.view import SHORTEST, USUAL

MOST_TRACES = "1000"
"""Traces in a CSV unless it is asked for fewer."""
Given = Mapping[str, str]
Make = Callable[[Snapshot, Given], Json]


class Answers(NamedTuple):
    """How the API answers. at: the snapshot that a request is of, and whether it is one of the past.

    send: bytes as JSON, with an ETag. identities: the topology of the newest snapshot. start: names this run.
    """

    at: Callable[[Request], tuple[Snapshot, bool]]
    send: Callable[[Request, bytes, str], Response]
    identities: Callable[[Snapshot], Json]
    start: str


class Feeds:
    """Answers from one hub."""

    def __init__(self, hub: HubView, answers: Answers) -> None:
        self._hub = hub
        self._answers = answers
        self._cache = PerTick()
        self._gpu_times = GpuTimes(hub)
        self._health: tuple[tuple[int, str], Hardware] = ((-1, ""), Hardware())
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
            snapshot, past = self._answers.at(request)
            key = f"{name}?{urlencode([(one, given[one].strip()) for one in takes if given.get(one)])}"

            def body() -> Json:
                return payloads.envelope(snapshot) | self._topology(snapshot, past) | make(snapshot, given)

            made = encode(body()) if past else self._cache.get(snapshot, key, body)
            mark = hashlib.blake2s(key.encode(), digest_size=6).hexdigest()
            return self._answers.send(request, made, f'"{mark}-{self._answers.start}-{snapshot.seq}"')

        return answer

    def _topology(self, snapshot: Snapshot, past: bool) -> Json:
        identities = topology(snapshot.world) if past else self._answers.identities(snapshot)
        return {"topology": identities["id"]}

    def _contention(self, snapshot: Snapshot, given: Given) -> Json:
        return contention(snapshot, given.get("victim", "").strip(), given.get("aggressor", "").strip())

    def _exemplars(self, request: Request) -> Response:
        given = request.query_params
        only(given, ("victim", "aggressor", "start", "end"))
        snapshot = self._hub.snapshot
        known = snapshot.world.services if snapshot.world else ()
        found = [pair.named(given.get(who, "").strip(), known) for who in ("victim", "aggressor")]
        if (victim := found[0]) is None or (aggressor := found[1]) is None:
            raise HTTPException(404, "victim and aggressor have to be services; /api/services lists those known")
        body = exemplars(self._hub.traces, self._gpu_times, wanted(given, victim, self._hub.now()), aggressor)
        return self._answers.send(request, encode(payloads.envelope(snapshot) | body), "")

    def _cascade(self, snapshot: Snapshot, given: Given) -> Json:
        world, now = snapshot.world, self._hub.now()
        end = world.time if world else now
        start = min(time_parameter(given, "from", now, end - USUAL), end - SHORTEST)
        wide = self._hub.over(start, end) if world and start < world.times[0] - world.step else None
        return cascade(snapshot, start, given.get("incident", "").strip(), given.get("service", "").strip(), wide)

    def _fleet(self, snapshot: Snapshot, given: Given) -> Json:
        wanted, label = fleet.asked(given), given.get("gpu", "").strip()
        nvlink = self._nvlink_of(snapshot) if "nvlink" in (wanted.metric, wanted.sort.removeprefix("-")) else None
        detail = gpu_detail(snapshot, label, self._health_of(snapshot, label)) if label else None
        return fleet.fleet(snapshot, wanted, nvlink) | {"open": detail}

    def _health_of(self, snapshot: Snapshot, label: str) -> Hardware:
        """Read once a tick: whoever looks at a GPU looks at it for long."""
        world, key = snapshot.world, (snapshot.seq, label)
        row = found(world, label) if world else None
        if world is None or row is None:
            return Hardware()
        if self._health[0] != key:
            self._health = (key, gpu_reads.hardware_of(self._hub.metrics, world.gpus[row], world.time))
        return self._health[1]

    def _nvlink_of(self, snapshot: Snapshot) -> Floats | None:
        if snapshot.world is None:
            return None
        seq, known = self._nvlink
        if seq != snapshot.seq or known is None:
            known = gpu_reads.nvlink_of(self._hub.metrics, snapshot.world)
            self._nvlink = (snapshot.seq, known)
        return known

    def _csv(self, request: Request, name: str) -> Response:
        if name == "traces":
            return self._traces_csv(request)
        if name != "gpus" and name not in table.LISTS:
            known = ", ".join(sorted([*table.LISTS, "gpus", "traces"]))
            raise HTTPException(404, f"no list {name[:40]}: use one of {known}")
        only(request.query_params, ("at", "q", "sort") if name == "gpus" else ("at",))
        snapshot, _ = self._answers.at(request)
        if name == "gpus":
            rows = fleet.table_rows(snapshot, fleet.asked(request.query_params), self._nvlink_of(snapshot))
            return _download(name, snapshot, table.table(fleet.COLUMNS, rows))
        listing = table.LISTS[name]
        return _download(name, snapshot, table.table(listing.columns, listing.rows(snapshot)))

    def _traces_csv(self, request: Request) -> Response:
        given = dict(request.query_params)
        snapshot = self._hub.snapshot
        if at := given.pop("at", ""):
            given.setdefault("end", at)
        known = snapshot.world.services if snapshot.world else ()
        query = trace_query({"limit": MOST_TRACES} | given, self._hub.now(), known)
        rows = [traces_json.summary(item) for item in self._hub.traces.search(query)]
        return _download("traces", snapshot, table.table(table.TRACES, rows))


def _download(name: str, snapshot: Snapshot, body: bytes) -> Response:
    """A file whose name says of which instant it is."""
    at = snapshot.world.time if snapshot.world else 0.0
    headers = {
        "Content-Disposition": f'attachment; filename="foreshock-{name}-{at:.0f}.csv"',
        "Cache-Control": "no-cache",
    }
    return Response(body, media_type="text/csv; charset=utf-8; header=present", headers=headers)
