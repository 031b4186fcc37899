"""Scripts and styles, compressed once for all who visit: they are a megabyte, and compressing takes longest."""

from __future__ import annotations

import gzip
import hashlib

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foreshock_dashboard.kept import Kept
from foreshock_dashboard.web import plotly_js
from foreshock_dashboard.web.encode import SHORTEST

PATHS = ("/assets/", "/_dash-component-suites/")
"""Plotly's script apart, which is read and compressed without asking Dash for it."""
MOST_BYTES = 16 * 2**20
"""Of compressed files that are kept; there are as many as the package and Dash have, together below 3 MB."""
LEVEL = 6
FOREVER = "private, max-age=31536000, immutable"
"""For an address that another state of the file would not have."""
STAMP = b"m="
"""How Dash begins the query of an asset: the time at which its file was changed."""


class Packed:
    """Answers below `PATHS`: compressed where the browser takes that, and kept by it where the address names the state.

    What was compressed is kept by the file's content, so that a file which is changed is never sent as it was.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._kept: Kept[bytes] = Kept(MOST_BYTES, len)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; compress and keep what comes back."""
        if scope["type"] != "http" or not scope["path"].startswith(PATHS) or scope["path"] == plotly_js.PATH:
            await self._app(scope, receive, send)
            return
        packs = "gzip" in Headers(scope=scope).get("accept-encoding", "")
        # Whoever is asked below would compress anew.
        plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        start: Message = {}
        parts: list[bytes] = []

        async def collected(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                await self._answer(scope, send, start, b"".join(parts), packs=packs)

        await self._app({**scope, "headers": plain}, receive, collected)

    async def _answer(self, scope: Scope, send: Send, start: Message, body: bytes, *, packs: bool) -> None:
        headers = MutableHeaders(raw=list(start["headers"]))
        if start["status"] in (200, 304) and scope["query_string"].startswith(STAMP):
            headers["Cache-Control"] = FOREVER
        if start["status"] == 200 and len(body) >= SHORTEST and "content-encoding" not in headers:
            headers["Vary"] = "Accept-Encoding"
            if packs:
                digest = hashlib.blake2b(body, digest_size=16).digest()
                body = self._kept.get(digest, lambda: gzip.compress(body, LEVEL, mtime=0))
                headers["Content-Encoding"] = "gzip"
                headers["Content-Length"] = str(len(body))
        await send({"type": "http.response.start", "status": start["status"], "headers": headers.raw})
        await send({"type": "http.response.body", "body": body})
