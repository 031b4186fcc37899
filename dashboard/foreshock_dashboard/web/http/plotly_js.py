"""Plotly's script, compressed once: it is 4.8 MB, and every page draws with it."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib import resources
from typing import NamedTuple

from fastapi import FastAPI, Request
from fastapi.responses import Response

PATH = "/_dash-component-suites/plotly/package_data/plotly.min.js"
"""Where Dash's own loader looks for it."""
LEVEL = 6


class Script(NamedTuple):
    """The script as it is and compressed, and a name for this state of it."""

    plain: bytes
    packed: bytes
    tag: str


@cache
def script() -> Script:
    """Read and compressed at first use; takes a third of a second."""
    plain = resources.files("plotly").joinpath("package_data", "plotly.min.js").read_bytes()
    return Script(plain, gzip.compress(plain, LEVEL, mtime=0), f'"{hashlib.blake2s(plain, digest_size=8).hexdigest()}"')


def register(app: FastAPI) -> None:
    """Add the address; before Dash's, which compresses it anew for everybody."""
    app.add_api_route(PATH, _answer, include_in_schema=False)


def _answer(request: Request) -> Response:
    found = script()
    headers = {"ETag": found.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if found.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(found.packed, media_type="text/javascript", headers=headers)
    return Response(found.plain, media_type="text/javascript", headers=headers)
