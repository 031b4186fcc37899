"""Scripts and styles: compressed once, and cacheable forever at an address that contains a hash.

Starlette's `GZipMiddleware` would compress a megabyte again for every first visit. Its `StaticFiles` compares
modification times, which are all equal in a reproducible build.
"""

from __future__ import annotations

import gzip
import hashlib

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foreshock_dashboard.common.single_flight_cache import SingleFlightCache
from foreshock_dashboard.web.http.responses import MIN_GZIP_BYTES

ASSETS = "/assets/"
PATHS = (ASSETS, "/_dash-component-suites/")
MAX_CACHE_BYTES = 16 * 2**20
"""Compressed files that are cached; the package and Dash have less than 5 MB of them."""
GZIP_LEVEL = 6
IMMUTABLE = "private, max-age=31536000, immutable"
"""Cache-Control of an address that names the content."""
CONDITIONAL_HEADERS = (b"accept-encoding", b"if-none-match", b"if-modified-since")
"""Removed from requests: the app below would compress again, or compare modification times."""


def content_hash(body: bytes) -> str:
    """A digest that names this content."""
    return hashlib.blake2b(body, digest_size=8).hexdigest()


class CompressedFiles:
    """Compresses, tags, and caches the answers below `PATHS`.

    The cache is keyed by content, so that a changed file is never sent as it was.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._compressed: SingleFlightCache[bytes] = SingleFlightCache(MAX_CACHE_BYTES, len)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and compress the response."""
        if not (scope["type"] == "http" and scope["method"] == "GET" and scope["path"].startswith(PATHS)):
            await self._app(scope, receive, send)
            return
        unconditional = [(name, value) for name, value in scope["headers"] if name not in CONDITIONAL_HEADERS]
        start: Message = {}
        parts: list[bytes] = []

        async def collect(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                await self._answer(scope, send, start, b"".join(parts))

        await self._app({**scope, "headers": unconditional}, receive, collect)

    async def _answer(self, scope: Scope, send: Send, start: Message, body: bytes) -> None:
        request, headers = Headers(scope=scope), MutableHeaders(raw=list(start["headers"]))
        status = start["status"]
        if status == 200:
            digest = content_hash(body)
            del headers["Last-Modified"]
            headers["ETag"] = f'W/"{digest}"'
            if scope["query_string"] == f"m={digest}".encode():
                headers["Cache-Control"] = IMMUTABLE
            headers.setdefault("Cache-Control", "no-cache")
            if "content-encoding" not in headers and len(body) >= MIN_GZIP_BYTES:
                headers["Vary"] = "Accept-Encoding"
                if "gzip" in request.get("accept-encoding", ""):
                    body = self._compressed.get(digest, lambda: gzip.compress(body, GZIP_LEVEL, mtime=0))
                    headers["Content-Encoding"] = "gzip"
            headers["Content-Length"] = str(len(body))
            if digest in request.get("if-none-match", ""):
                status, body = 304, b""
                del headers["Content-Length"], headers["Content-Encoding"]
        await send({"type": "http.response.start", "status": status, "headers": headers.raw})
        await send({"type": "http.response.body", "body": body})
