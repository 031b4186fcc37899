"""Scripts and styles, compressed once for all who visit: they are a megabyte, and compressing takes longest."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foreshock_dashboard.common.single_flight_cache import SingleFlightCache
from foreshock_dashboard.web.http import plotly_js
from foreshock_dashboard.web.http.json_cache import SHORTEST

ASSETS = "/assets/"
PATHS = (ASSETS, "/_dash-component-suites/")
"""Plotly's script apart, which is read and compressed without asking Dash for it."""
MOST_BYTES = 16 * 2**20
"""Of compressed files that are kept; there are as many as the package and Dash have, together below 3 MB."""
LEVEL = 6
FOREVER = "private, max-age=31536000, immutable"
"""For an address that another state of the file would not have."""
LINK = re.compile(rf'="({ASSETS}([\w./-]+))(?:\?m=[\d.]+)?"')
"""An asset in a page; Dash puts the time at which its file was changed behind most. Builds that can be repeated give
all files of all versions one time, so that a browser would keep the scripts of another version."""
ASKED_BELOW = (b"accept-encoding", b"if-none-match", b"if-modified-since")
"""Not passed on: whoever is asked below would compress anew, or go by the file's time."""


def state(body: bytes) -> str:
    """A name for this content, and for no other."""
    return hashlib.blake2b(body, digest_size=8).hexdigest()


def stamped(page: str, folder: Path) -> str:
    """A page whose assets, in `folder`, have the state of their content in their address."""
    return LINK.sub(lambda link: f'="{link[1]}?m={state((folder / link[2]).read_bytes())}"', page)


class Packed:
    """Answers below `PATHS`: compressed where the browser takes that, and kept by it where the address names the state.

    What was compressed is kept by the file's content, so that a file which is changed is never sent as it was.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._kept: SingleFlightCache[bytes] = SingleFlightCache(MOST_BYTES, len)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; compress and keep what comes back."""
        mine = scope["type"] == "http" and scope["method"] == "GET" and scope["path"].startswith(PATHS)
        if not mine or scope["path"] == plotly_js.PATH:
            await self._app(scope, receive, send)
            return
        plain = [(name, value) for name, value in scope["headers"] if name not in ASKED_BELOW]
        start: Message = {}
        parts: list[bytes] = []

        async def collected(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                await self._answer(scope, send, start, b"".join(parts))

        await self._app({**scope, "headers": plain}, receive, collected)

    async def _answer(self, scope: Scope, send: Send, start: Message, body: bytes) -> None:
        asked, headers = Headers(scope=scope), MutableHeaders(raw=list(start["headers"]))
        status = start["status"]
        if status == 200:
            tag = state(body)
            del headers["Last-Modified"]
            headers["ETag"] = f'W/"{tag}"'
            if scope["query_string"] == f"m={tag}".encode():
                headers["Cache-Control"] = FOREVER
            headers.setdefault("Cache-Control", "no-cache")
            if "content-encoding" not in headers and len(body) >= SHORTEST:
                headers["Vary"] = "Accept-Encoding"
                if "gzip" in asked.get("accept-encoding", ""):
                    body = self._kept.get(tag, lambda: gzip.compress(body, LEVEL, mtime=0))
                    headers["Content-Encoding"] = "gzip"
            headers["Content-Length"] = str(len(body))
            if tag in asked.get("if-none-match", ""):
                status, body = 304, b""
                del headers["Content-Length"], headers["Content-Encoding"]
        await send({"type": "http.response.start", "status": status, "headers": headers.raw})
        await send({"type": "http.response.body", "body": body})
