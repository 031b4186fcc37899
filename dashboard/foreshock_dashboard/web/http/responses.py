"""JSON and file responses: encoded once per evaluation, with ETag, hub time and compression."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Hashable, Mapping
from typing import Annotated

import orjson
from fastapi import Request
from fastapi.responses import Response
from isal import igzip
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from typing_extensions import TypedDict

from foreshock_dashboard.common.single_flight_cache import SingleFlightCache
from foreshock_dashboard.model.snapshot import HubView, Snapshot
from foreshock_dashboard.web.state.numbers import number
from foreshock_dashboard.web.state.parameters import AsOf, time_parameter

CSV = "text/csv; charset=utf-8; header=present"
ZIP = "application/zip"
MIN_GZIP_BYTES = 1000
"""Size from which compressing pays."""
GZIP_LEVEL = 5
FAST_GZIP_LEVEL = 2
"""Of ISA-L: a tenth of the time of zlib's level 5 for 3% more bytes."""
MAX_CACHE_BYTES = 32 * 2**20
"""Payloads of one evaluation that are cached: their keys hold parameters that anyone may write."""

Payload = Mapping[str, object]
MakePayload = Callable[[Snapshot, bool], Payload]
"""The payload of a snapshot; True for a snapshot of time travel."""


class Learning(TypedDict):
    """History that the analysis has and needs."""

    have: Annotated[float | None, Field(description="seconds")]
    need: Annotated[float | None, Field(description="seconds")]
    done: bool


class Envelope(TypedDict):
    """The fields of every JSON answer."""

    time: Annotated[float, Field(description="the hub's time, Unix seconds")]
    seq: Annotated[int, Field(description="grows by one with each tick")]
    simulated: Annotated[bool, Field(description="some of the data is not from the real world")]
    learning: Annotated[Learning, Field(description="history the analysis has and needs, seconds")]
    data_time: Annotated[float | None, Field(description="the instant the figures are of, Unix seconds")]
    error: Annotated[str, Field(description="why the last tick could not read its source; empty when it could")]
    bounds: Annotated[
        list[float] | None,
        Field(description="a hub that stands in the past: the Unix seconds between which `at` can be; else null"),
    ]


def encode(payload: Payload) -> bytes:
    """JSON as UTF-8."""
    return orjson.dumps(payload, option=orjson.OPT_NON_STR_KEYS)


class PayloadCache:
    """Encoded payloads of the newest snapshot, each made once. Safe to call from several threads."""

    def __init__(self, max_bytes: int = MAX_CACHE_BYTES) -> None:
        self._payloads: SingleFlightCache[bytes] = SingleFlightCache(max_bytes, len)

    def get(self, snapshot: Snapshot, key: Hashable, make: Callable[[], Payload]) -> bytes:
        """The encoded payload of a key; those of another snapshot are dropped."""
        return self._payloads.get(key, lambda: encode(make()), snapshot)


class Answers:
    """JSON answers of one hub."""

    def __init__(self, hub: HubView) -> None:
        self._hub = hub
        self._cache = PayloadCache()
        self._start = secrets.token_hex(6)  # ticks count from 1 after each start, so they alone name no answer

    def as_of(self, at: str) -> tuple[Snapshot, bool]:
        """The newest snapshot, or that of the instant `at`; and whether it is one of time travel.

        Raises:
            BadParameterError: `at` is no time.
            SourceError: the source cannot answer, or holds nothing so early.
        """
        newest, now = self._hub.snapshot, self._hub.now()
        time = time_parameter("at", at, now, now)
        if newest.world is None or time >= newest.world.time:
            return newest, False
        return self._hub.at(time), True

    async def tick(self, request: Request, parameters: AsOf, make: MakePayload) -> Response:
        """The payload of the snapshot that `at` names, made once per snapshot, address and parameters.

        The ETag of the newest snapshot names address and tick. That of the past is a digest of the bytes: a parameter
        such as `from=now-6h` means something else a second later.
        """
        key = f"{request.url.path} {parameters.model_dump(exclude={'at'})}"
        if not parameters.at and _has(request, etag := self._etag(key, self._hub.snapshot)):
            return self._unchanged(etag)  # without a thread: most requests end here
        return await run_in_threadpool(self._tick, request, key, parameters.at, make)

    def _tick(self, request: Request, key: str, at: str, make: MakePayload) -> Response:
        snapshot, past = self.as_of(at)
        if past:
            body = encode({**envelope(snapshot), **make(snapshot, past)})
            return self.encoded(request, body, f'"{_digest(body)}"')
        body = self._cache.get(snapshot, key, lambda: {**envelope(snapshot), **make(snapshot, past)})
        return self.encoded(request, body, self._etag(key, snapshot))

    def _etag(self, key: str, snapshot: Snapshot) -> str:
        return f'"{_digest(key.encode())}-{self._start}-{snapshot.seq}"'

    def payload(self, request: Request, snapshot: Snapshot, payload: Payload, etag: str = "") -> Response:
        """A payload that is not cached."""
        if _has(request, etag):
            return self._unchanged(etag)
        return self.encoded(request, encode({**envelope(snapshot), **payload}), etag)

    def encoded(self, request: Request, body: bytes, etag: str = "") -> Response:
        """An encoded object with the hub's time before its other fields; 304 where the client has this ETag."""
        if _has(request, etag):
            return self._unchanged(etag)
        time = self._hub.now()
        headers = self._headers(time, etag)
        body = b'{"time":' + orjson.dumps(round(time, 3)) + b"," + body[1:]
        if len(body) >= MIN_GZIP_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
            headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
            body = igzip.compress(body, FAST_GZIP_LEVEL, mtime=0)
        return Response(body, media_type="application/json", headers=headers)

    def _unchanged(self, etag: str) -> Response:
        return Response(status_code=304, headers=self._headers(self._hub.now(), etag))

    def _headers(self, time: float, etag: str) -> dict[str, str]:
        headers = {"Cache-Control": "no-cache", "Foreshock-Time": f"{time:.3f}"}
        return headers | {"ETag": etag} if etag else headers


def envelope(snapshot: Snapshot) -> dict[str, object]:
    """The fields of every answer but `time`."""
    return {
        "seq": snapshot.seq,
        "simulated": bool(snapshot.world and snapshot.world.simulated),
        "learning": {
            "have": number(snapshot.learning.have),
            "need": number(snapshot.learning.need),
            "done": snapshot.learning.done,
        },
        "data_time": snapshot.world.time if snapshot.world else None,
        "error": snapshot.error,
        "bounds": list(snapshot.bounds) if snapshot.bounds else None,
    }


def download(name: str, body: bytes, media_type: str) -> Response:
    """A file. media_type: `CSV` or `ZIP`."""
    safe = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)
    headers = {"Content-Disposition": f'attachment; filename="{safe}"', "Cache-Control": "no-cache"}
    return Response(body, media_type=media_type, headers=headers)


def _digest(content: bytes) -> str:
    """A short digest that a header can carry."""
    return hashlib.blake2s(content, digest_size=8).hexdigest()


def _has(request: Request, etag: str) -> bool:
    return bool(etag) and etag in request.headers.get("if-none-match", "")
