"""The pages there are: address, name, the function that gives the skeleton which the scripts fill, and its charts."""

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
    """A page. `layout` is called at each visit; `name` is in the navigation, "" is not; `title` is the one h1.

    key: with `g`, the letter that leads to it. deep: addresses below `path` are the page as well, such as
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
        """What of an address lies below the page's own: `prod/embedder`; "" where nothing does."""
        if not self.deep or not isinstance(address, str) or len(address) > MAX_ADDRESS_LENGTH:
            return ""
        below = address.removeprefix(f"{self.path}/") if address.startswith(f"{self.path}/") else ""
        return unquote(below).strip("/")


def find(pages: tuple[Page, ...], path: str) -> Page | None:
    """The page at an address, a slash at its end or not."""
    wanted = path.rstrip("/") or "/"
    return next((page for page in pages if page.path == wanted or (page.deep and page.rest(path))), None)
