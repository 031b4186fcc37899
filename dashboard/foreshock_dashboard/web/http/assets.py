"""Scripts and styles: addresses with a hash, the tags that load them, and cached compression."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, cached_property, partial
from pathlib import Path

import cramjam
from fastapi import FastAPI
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from foreshock_dashboard.common.single_flight_cache import SingleFlightCache

ASSETS = "/assets/"
PATHS = (ASSETS, "/_dash-component-suites/")
MAX_CACHE_BYTES = 16 * 2**20
"""Compressed files that are cached; the package and Dash have less than 5 MB of them."""
GZIP_LEVEL = 6
MIN_BYTES = 256
"""Smaller files are sent as they are."""
BROTLI_LEVELS = ((60_000, 11), (500_000, 10), (math.inf, 5))
"""By size in bytes: Plotly's 4.8 MB would take seconds at a level that the modules afford."""
IMMUTABLE = "private, max-age=31536000, immutable"
"""Cache-Control of an address that names the content."""
CONDITIONAL_HEADERS = (b"accept-encoding", b"if-none-match", b"if-modified-since")
"""Removed from requests: the app below would compress again, or compare modification times."""


COMPRESSED: SingleFlightCache[bytes] = SingleFlightCache(MAX_CACHE_BYTES, len)
"""Compressed files by encoding and digest, for every app of the process."""


def content_hash(body: bytes) -> str:
    """A digest that names this content."""
    return hashlib.blake2b(body, digest_size=8).hexdigest()


def _brotli(body: bytes) -> bytes:
    level = next(level for max_bytes, level in BROTLI_LEVELS if len(body) <= max_bytes)
    return bytes(cramjam.brotli.compress(body, level=level))


COMPRESSORS: Mapping[str, Callable[[bytes], bytes]] = {
    "br": _brotli,
    "gzip": lambda body: gzip.compress(body, GZIP_LEVEL, mtime=0),
}
"""By content encoding, the best first. Browsers accept Brotli over TLS and on loopback."""


class CompressedFiles:
    """Compresses, tags, and caches the answers below `PATHS`.

    The cache is keyed by content, so that a changed file is never sent as it was. Starlette's `GZipMiddleware` would
    compress a megabyte again for every first visit, and its `StaticFiles` compares modification times, which are all
    equal in a reproducible build.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

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
            if "content-encoding" not in headers and len(body) >= MIN_BYTES:
                headers["Vary"] = "Accept-Encoding"
                accepted = re.findall(r"[\w-]+", request.get("accept-encoding", ""))
                if encoding := next((name for name in COMPRESSORS if name in accepted), ""):
                    make = partial(COMPRESSORS[encoding], body)
                    body = await run_in_threadpool(COMPRESSED.get, f"{encoding} {digest}", make)
                    headers["Content-Encoding"] = encoding
            headers["Content-Length"] = str(len(body))
            if digest in request.get("if-none-match", ""):
                status, body = 304, b""
                del headers["Content-Length"], headers["Content-Encoding"]
        await send({"type": "http.response.start", "status": status, "headers": headers.raw})
        await send({"type": "http.response.body", "body": body})


WEB = Path(__file__).parent.parent
ENTRY = "main.js"
"""The module that imports the others; it imports the script of a page when that is shown."""
BEFORE_PAINT = "theme.js"
"""The one classic script: it runs before anything is painted."""
SPECIFIER = "#web/"
"""How the modules import one another: this, then the path below `web/`. package.json says the same to Node."""
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2"}
COMMENT_LINES = re.compile(rb"^[ \t]*(?://[^\n]*|/\*(?:[^*]|\*(?!/))*\*/[ \t]*)\n", re.MULTILINE)
STYLES = "styles.css"
"""All style sheets in one, in the order of their paths: one request before anything is painted."""
FONT = "inter.woff2"
"""Inter, made by `scripts/docs/subset_font.py`; its license is beside it."""


class Assets:
    """Files by name, each at `/assets/<name>?m=<digest of its content>`, so that a browser keeps it until it changes.

    files: paths below `root`, whose names are unique. Style sheets are served as one, `STYLES`.
    """

    def __init__(self, root: Path, files: Iterable[Path]) -> None:
        paths = sorted(files)
        self._contents = {path.name: _without_comments(path) for path in paths}
        if len(self._contents) < len(paths):
            raise ValueError(f"two assets below {root} have the same name")
        self._specifiers = {
            path.name: f"{SPECIFIER}{path.relative_to(root).as_posix()}"
            for path in paths
            if path.suffix == ".js" and path.name != BEFORE_PAINT
        }
        sheets = [path.name for path in paths if path.suffix == ".css"]
        self._contents[STYLES] = b"".join(self._contents.pop(name) for name in sheets)
        self._addresses = {
            name: f"{ASSETS}{name}?m={content_hash(content)}" for name, content in self._contents.items()
        }

    @classmethod
    @cache
    def packaged(cls) -> Assets:
        """The scripts, styles, icon, and font of this package."""
        return cls(WEB, (path for path in WEB.rglob("*") if path.suffix in MEDIA_TYPES))

    @cached_property
    def import_map(self) -> str:
        """Import map as JSON: the address of each module specifier."""
        modules = {specifier: self._addresses[name] for name, specifier in self._specifiers.items()}
        return json.dumps({"imports": modules})

    @property
    def csp_hash(self) -> str:
        """The source expression that lets the import map, an inline script, pass the Content-Security-Policy."""
        digest = hashlib.sha256(self.import_map.encode()).digest()
        return f"'sha256-{base64.b64encode(digest).decode()}'"

    def preloads(self, folder: str, *, below: bool = True) -> str:
        """The tags that load the modules below a folder of `web/` at once, or those that are not below it."""
        modules = json.loads(self.import_map)["imports"].items()
        chosen = (address for name, address in modules if name.startswith(f"{SPECIFIER}{folder}/") == below)
        return "\n    ".join(f'<link rel="modulepreload" href="{address}">' for address in chosen)

    @property
    def styles(self) -> str:
        """The tags of the icon, the font, and the styles, for pages without scripts."""
        return "\n    ".join(
            [
                f'<link rel="icon" type="image/svg+xml" href="{self._addresses["icon.svg"]}">',
                f"<style>{self._font_face}</style>",
                '<link rel="stylesheet" href="/theme.css">',
                f'<link rel="stylesheet" href="{self._addresses[STYLES]}">',
            ]
        )

    @cached_property
    def head(self) -> str:
        """The tags for the head of all pages. The entry module runs once the document is parsed."""
        return "\n    ".join(
            [
                f'<link rel="icon" type="image/svg+xml" href="{self._addresses["icon.svg"]}">',
                f'<link rel="preload" as="font" type="font/woff2" crossorigin href="{self._addresses[FONT]}">',
                f"<style>{self._font_face}</style>",
                f'<script src="{self._addresses[BEFORE_PAINT]}"></script>',
                f'<script type="importmap">{self.import_map}</script>',
                self.preloads("pages", below=False),
                f'<link rel="stylesheet" href="{self._addresses[STYLES]}">',
                f'<script type="module" src="{self._addresses[ENTRY]}"></script>',
            ]
        )

    @property
    def _font_face(self) -> str:
        source = f'url("{self._addresses[FONT]}") format("woff2")'
        return f"@font-face{{font-family:Inter;font-weight:400 700;font-display:swap;src:{source}}}"

    def register(self, app: FastAPI) -> None:
        """Serve the files; before Dash, which would look for them in one folder."""
        app.add_api_route(f"{ASSETS}{{name}}", self._answer, include_in_schema=False)

    async def _answer(self, name: str, m: str = "") -> Response:
        """m: digest of the content; another one is of another version, whose scripts do not fit the page."""
        content = self._contents.get(name)
        if content is None or (m and m != content_hash(content)):
            return Response(f"There is no asset {name!r}.\n", 404, media_type="text/plain")
        return Response(content, media_type=MEDIA_TYPES[Path(name).suffix])


def _without_comments(path: Path) -> bytes:
    """The content of a file; of a script or style without comments that have lines of their own, a fifth of it."""
    content = path.read_bytes()
    return COMMENT_LINES.sub(b"", content) if path.suffix in (".js", ".css") else content
