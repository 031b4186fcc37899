"""The pages there are: address, name, and the function that gives the skeleton which the scripts fill."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dash.development.base_component import Component


@dataclass(frozen=True, slots=True)
class Page:
    """A page. `layout` is called at each visit; `name` is in the navigation, `title` is the one h1."""

    path: str
    name: str
    title: str
    layout: Callable[[], Component]


def find(pages: tuple[Page, ...], path: str) -> Page | None:
    """The page at an address, a slash at its end or not."""
    wanted = path.rstrip("/") or "/"
    return next((page for page in pages if page.path == wanted), None)
