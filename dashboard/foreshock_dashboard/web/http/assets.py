"""Scripts and styles of the package: their addresses, and the tags that load them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import Response

from foreshock_dashboard.web.http.static_files import ASSETS, content_hash

WEB = Path(__file__).parent.parent
ENTRY = "main.js"
"""The module that imports the others."""
BEFORE_PAINT = "theme.js"
"""The one classic script: it runs before anything is painted."""
SPECIFIER = "#web/"
"""How the modules import one another: this, then the path below `web/`. package.json says the same to Node."""
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class Assets:
    """Files by name, each at `/assets/<name>?m=<digest of its content>`, so that a browser keeps it until it changes.

    files: paths below `root`, whose names are unique.
    """

    def __init__(self, root: Path, files: Iterable[Path]) -> None:
        paths = sorted(files)
        self._paths = {path.name: path for path in paths}
        if len(self._paths) < len(paths):
            raise ValueError(f"two assets below {root} have the same name")
        self._specifiers = {path.name: f"{SPECIFIER}{path.relative_to(root).as_posix()}" for path in paths}
        self._addresses = {
            name: f"{ASSETS}{name}?m={content_hash(path.read_bytes())}" for name, path in self._paths.items()
        }

    @classmethod
    def packaged(cls) -> Assets:
        """The scripts, styles and icon of this package."""
        return cls(WEB, (path for path in WEB.rglob("*") if path.suffix in MEDIA_TYPES))

    @cached_property
    def import_map(self) -> str:
        """Import map as JSON: the address of each module specifier."""
        modules = [name for name in self._paths if name.endswith(".js") and name != BEFORE_PAINT]
        return json.dumps({"imports": {self._specifiers[name]: self._addresses[name] for name in modules}})

    @property
    def csp_hash(self) -> str:
        """The source expression that lets the import map, an inline script, pass the Content-Security-Policy."""
        digest = hashlib.sha256(self.import_map.encode()).digest()
        return f"'sha256-{base64.b64encode(digest).decode()}'"

    @cached_property
    def head(self) -> str:
        """The tags for a page's head. The entry module runs once the document is parsed, with all that it imports."""
        modules = json.loads(self.import_map)["imports"].values()
        styles = [address for name, address in self._addresses.items() if name.endswith(".css")]
        return "\n    ".join(
            [
                f'<link rel="icon" type="image/svg+xml" href="{self._addresses["icon.svg"]}">',
                f'<script src="{self._addresses[BEFORE_PAINT]}"></script>',
                f'<script type="importmap">{self.import_map}</script>',
                *(f'<link rel="modulepreload" href="{address}">' for address in modules),
                *(f'<link rel="stylesheet" href="{address}">' for address in styles),
                f'<script type="module" src="{self._addresses[ENTRY]}"></script>',
            ]
        )

    def register(self, app: FastAPI) -> None:
        """Serve the files; before Dash, which would look for them in one folder."""
        app.add_api_route(f"{ASSETS}{{name}}", self._answer, include_in_schema=False)

    async def _answer(self, name: str) -> Response:
        path = self._paths.get(name)
        if path is None:
            return Response(f"There is no asset {name!r}.\n", 404, media_type="text/plain")
        return Response(path.read_bytes(), media_type=MEDIA_TYPES[path.suffix])
