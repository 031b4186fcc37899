"""The registry entry of a page: address, name, layout, and charts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

from dash.development.base_component import Component

from foreshock_dashboard.web.charts.chart import Chart

MAX_ADDRESS_LENGTH = 600
"""Characters of an address that are read."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page. `layout` is called at each visit; `name` is in the navigation unless blank; `title` is its h1.

    key: with `g`, the letter that opens it. deep: addresses below `path` belong to the page too, such as
    `/services/prod/embedder`.
    """

    path: str
    name: str
    title: str
    layout: Callable[[], Component]
    key: str = ""
    charts: tuple[Chart, ...] = ()
    deep: bool = False

    def rest(self, address: object) -> str:
        """The part of an address below the page's own: `prod/embedder`; "" without one."""
        if not self.deep or not isinstance(address, str) or len(address) > MAX_ADDRESS_LENGTH:
            return ""
        below = address.removeprefix(f"{self.path}/") if address.startswith(f"{self.path}/") else ""
        return unquote(below).strip("/")


def find(pages: tuple[Page, ...], path: str) -> Page | None:
    """The page at an address, with or without a trailing slash."""
    wanted = path.rstrip("/") or "/"
    return next((page for page in pages if page.path == wanted or (page.deep and page.rest(path))), None)
