"""JSON and file responses: encoded once per evaluation, with ETag, hub time and compression."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Annotated, NotRequired

import orjson
from fastapi import Request
from fastapi.responses import Response
from isal import igzip
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from typing_extensions import TypedDict

from foreshock_dashboard.common.single_flight_cache import SingleFlightCache
from foreshock_dashboard.model.hub.view import HubView
from foreshock_dashboard.model.snapshot import Snapshot, clusters_of
from foreshock_dashboard.web.panels.worst_incident import WorstIncident, worst_incident
from foreshock_dashboard.web.state.numbers import Row, number
from foreshock_dashboard.web.state.parameters import AsOf, time_parameter

CSV = "text/csv; charset=utf-8; header=present"
ZIP = "application/zip"
MIN_GZIP_BYTES = 1000
"""Size from which responses are compressed."""
GZIP_LEVEL = 5
FAST_GZIP_LEVEL = 2
"""Level of ISA-L: a tenth of the time of zlib's level 5, for 3% more bytes."""
MAX_CACHE_BYTES = 32 * 2**20
"""Size of the cached payloads of one evaluation. Keys contain parameters of the request, so they need a limit."""

Payload = Mapping[str, object]
PayloadOfSnapshot = Callable[[Snapshot, bool], Payload]
"""Makes the payload of a snapshot. The second argument is true for a snapshot of time travel."""


class Learning(Row):
    """History that the analysis has and needs."""

    have: Annotated[float | None, Field(description="seconds")]
    need: Annotated[float | None, Field(description="seconds")]
    done: bool


class Envelope(TypedDict):
    """Fields of every JSON response."""

    time: Annotated[float, Field(description="time of the hub, Unix seconds")]
    seq: Annotated[int, Field(description="number of the evaluation")]
    simulated: Annotated[bool, Field(description="some of the data is simulated")]
    learning: Annotated[Learning, Field(description="history the analysis has and needs, seconds")]
    data_time: Annotated[float | None, Field(description="time of the evaluated data, Unix seconds")]
    error: Annotated[str, Field(description="why the last evaluation could not read its source; else empty")]
    bounds: Annotated[
        list[float] | None,
        Field(description="time travel and recordings: the range of `at`, Unix seconds; else null"),
    ]
    preview: NotRequired[
        Annotated[bool, Field(description="true while the history is read after a start; else absent")]
    ]
    clusters: NotRequired[Annotated[list[str], Field(description="the clusters, where there are several")]]
    worst_incident: NotRequired[
        Annotated[
            WorstIncident, Field(description="the most urgent open incident that affects services; absent without")
        ]
    ]


def encode(payload: Payload) -> bytes:
    """JSON as UTF-8. Dataclasses become objects."""
    return orjson.dumps(payload, option=orjson.OPT_NON_STR_KEYS)


class Responder:
    """Makes the JSON responses of one hub."""

    def __init__(self, hub: HubView) -> None:
        self._hub = hub
        self._payloads: SingleFlightCache[bytes] = SingleFlightCache(MAX_CACHE_BYTES, len)
        self._start = secrets.token_hex(6)  # evaluations are counted from 1 after each start

    def snapshot_at(self, at: str) -> tuple[Snapshot, bool]:
        """The newest snapshot, or that of the instant `at`; and whether it is a snapshot of time travel.

        Raises:
            BadParameterError: `at` is not a time.
            SourceError: the source cannot answer, or has no data that early.
        """
        newest, now = self._hub.snapshot, self._hub.now()
        time = time_parameter("at", at, now, now)
        if newest.world is None or time >= newest.world.time:
            return newest, False
        return self._hub.at(time), True

    def time_of(self, snapshot: Snapshot, past: bool) -> float:
        """The time at which a snapshot is shown, Unix seconds: that of its data in time travel, else now."""
        return snapshot.world.time if past and snapshot.world else self._hub.now()

    async def snapshot_response(self, request: Request, parameters: AsOf, make: PayloadOfSnapshot) -> Response:
        """JSON response with the payload of the snapshot at `parameters.at`.

        The payload is made once per snapshot, journal entry, address, and parameters. The ETag of the newest snapshot
        is derived from the same. The ETag of an earlier snapshot is a digest of the bytes, because a parameter such as
        `from=now-6h` moves with the clock.
        """
        parts = request.url.path, self._hub.journal.newest, parameters.model_dump(exclude={"at"})
        key = " ".join(map(str, parts))
        if not parameters.at and _matches_etag(request, etag := self._etag(key, self._hub.snapshot)):
            return self._not_modified(etag)  # no thread: most requests end here
        return await run_in_threadpool(self._snapshot_response, request, key, parameters.at, make)

    def _snapshot_response(self, request: Request, key: str, at: str, make: PayloadOfSnapshot) -> Response:
        snapshot, past = self.snapshot_at(at)

        def encoded() -> bytes:
            return encode({**envelope(snapshot), **make(snapshot, past)})

        if past:
            return self.encoded_response(request, body := encoded(), f'"{_digest(body)}"')
        return self.encoded_response(request, self._payloads.get(key, encoded, snapshot), self._etag(key, snapshot))

    def made_of_snapshot(self, name: str, at: str, make: Callable[[Snapshot], bytes]) -> tuple[Snapshot, bytes]:
        """The snapshot at `at`, and what `make` makes of it: of the newest one, once per name and journal entry."""
        snapshot, past = self.snapshot_at(at)
        if past:
            return snapshot, make(snapshot)
        key = f"{name} {self._hub.journal.newest}"
        return snapshot, self._payloads.get(key, lambda: make(snapshot), snapshot)

    def _etag(self, key: str, snapshot: Snapshot) -> str:
        return f'"{_digest(key.encode())}-{self._start}-{snapshot.seq}"'

    def json_response(self, request: Request, snapshot: Snapshot, payload: Payload, etag: str = "") -> Response:
        """JSON response with a payload that is not cached."""
        if _matches_etag(request, etag):
            return self._not_modified(etag)
        return self.encoded_response(request, encode({**envelope(snapshot), **payload}), etag)

    def encoded_response(self, request: Request, body: bytes, etag: str = "") -> Response:
        """JSON response with an encoded object, to which the hub's time is added; 304 if the client has this ETag."""
        if _matches_etag(request, etag):
            return self._not_modified(etag)
        time = self._hub.now()
        headers = self._headers(time, etag)
        body = b'{"time":' + orjson.dumps(round(time, 3)) + b"," + body[1:]
        if len(body) >= MIN_GZIP_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
            headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
            body = igzip.compress(body, FAST_GZIP_LEVEL, mtime=0)
        return Response(body, media_type="application/json", headers=headers)

    def _not_modified(self, etag: str) -> Response:
        return Response(status_code=304, headers=self._headers(self._hub.now(), etag))

    def _headers(self, time: float, etag: str) -> dict[str, str]:
        headers = {"Cache-Control": "no-cache", "Foreshock-Time": f"{time:.3f}"}
        return headers | {"ETag": etag} if etag else headers


def envelope(snapshot: Snapshot) -> dict[str, object]:
    """Fields of every JSON response except `time`."""
    learning = snapshot.learning
    return {
        "seq": snapshot.seq,
        "simulated": bool(snapshot.world and snapshot.world.simulated),
        "learning": Learning(number(learning.have), number(learning.need), learning.done),
        "data_time": snapshot.world.time if snapshot.world else None,
        "error": snapshot.error,
        "bounds": list(snapshot.bounds) if snapshot.bounds else None,
        **({"preview": True} if snapshot.is_preview else {}),
        **({"clusters": list(clusters)} if (clusters := clusters_of(snapshot)) else {}),
        **({"worst_incident": worst} if (worst := worst_incident(snapshot)) else {}),
    }


def download(name: str, body: bytes, media_type: str) -> Response:
    """A file. media_type: `CSV` or `ZIP`."""
    safe = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)
    headers = {"Content-Disposition": f'attachment; filename="{safe}"', "Cache-Control": "no-cache"}
    return Response(body, media_type=media_type, headers=headers)


def _digest(content: bytes) -> str:
    return hashlib.blake2s(content, digest_size=8).hexdigest()


def _matches_etag(request: Request, etag: str) -> bool:
    return bool(etag) and etag in request.headers.get("if-none-match", "")
