"""How addresses answer: of which instant, made once a tick however many ask, with a tag, compressed, or as a file."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable

from fastapi import Request
from fastapi.responses import Response
from starlette.datastructures import Headers

from foreshock_dashboard.model.snapshot import HubView, Snapshot
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.web.http.answer_cache import Given, Told
from foreshock_dashboard.web.http.json_cache import SHORTEST, Body, PerTick, encode, stamped, stamped_gzip
from foreshock_dashboard.web.state import conditions
from foreshock_dashboard.web.state.params import time_parameter

CSV = "text/csv; charset=utf-8; header=present"
ZIP = "application/zip"
Make = Callable[[Snapshot, bool], Json]
"""What is told of a snapshot; whether it is one of the past."""


class Answers:
    """Of one hub, for all of its addresses."""

    def __init__(self, hub: HubView) -> None:
        self._hub = hub
        self._cache = PerTick()
        self._start = secrets.token_hex(6)  # ticks count from 1 after each start, so they alone name no answer
        self.given = Given(hub)

    def at(self, request: Request) -> tuple[Snapshot, bool]:
        """The newest tick, or that of the instant that `at` names; and whether it is one of the past.

        Raises:
            BadParameterError: `at` is no time.
            SourceError: the source cannot answer, or holds nothing so early.
        """
        newest, now = self._hub.snapshot, self._hub.now()
        at = time_parameter(request.query_params, "at", now, now)
        if newest.world is None or at >= newest.world.time:
            return newest, False
        return self._hub.at(at), True

    def tick(self, request: Request, key: str, make: Make) -> Response:
        """What `make` tells of the tick that is asked for. key: the address, and all of its parameters but `at`.

        Of the newest tick it is made once, and the tag names key and tick. Of the past the tag is of the bytes: a
        parameter such as `from=now-6h` means something else a second later.
        """
        snapshot, past = self.at(request)
        body = self.made(snapshot, key, lambda: make(snapshot, past), past=past)
        if past:
            return self.send(request, body, f'"{_digest(body)}"')
        told = Told(body, f'"{_digest(key.encode())}-{self._start}-{snapshot.seq}"')
        if "at" not in request.query_params:  # what is not past now will be
            self.given.keep(snapshot, (request.scope["path"], request.scope["query_string"]), told)
        return self.again(request.headers, told)

    def made(self, snapshot: Snapshot, key: str, make: Callable[[], Json], *, past: bool) -> Body:
        """What is told, encoded; kept as long as the tick is the newest."""

        def body() -> Json:
            return conditions.envelope(snapshot) | make()

        return Body(encode(body())) if past else self._cache.get(snapshot, key, body)

    def send(self, request: Request, body: bytes, etag: str = "") -> Response:
        """JSON, or 304 for whoever has that of this tag."""
        return self._response(request.headers, body, etag)

    def again(self, headers: Headers, told: Told) -> Response:
        """The same of what was told of the newest tick, for whoever sent these headers."""
        return self._response(headers, told.body, told.tag)

    def _response(self, asked: Headers, body: bytes, etag: str) -> Response:
        time = self._hub.now()
        headers = {"Cache-Control": "no-cache", "Foreshock-Time": f"{time:.3f}"} | ({"ETag": etag} if etag else {})
        if etag and etag in asked.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if isinstance(body, Body) and len(body) >= SHORTEST and "gzip" in asked.get("accept-encoding", ""):
            headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
            return Response(stamped_gzip(body, time), media_type="application/json", headers=headers)
        return Response(stamped(body, time), media_type="application/json", headers=headers)


def download(name: str, body: bytes, media: str) -> Response:
    """A file. media: its type, `CSV` or `ZIP`."""
    safe = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)
    headers = {"Content-Disposition": f'attachment; filename="{safe}"', "Cache-Control": "no-cache"}
    return Response(body, media_type=media, headers=headers)


def _digest(told: bytes) -> str:
    """A name of bytes that a header can carry, whatever is in them."""
    return hashlib.blake2s(told, digest_size=8).hexdigest()
