"""The runbooks that ship with the alerts, as plain HTML pages at `/runbooks/<alert>` that need no script."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from markdown_it import MarkdownIt
from starlette.exceptions import HTTPException

from foreshock_dashboard.common.package_data import alerts_dir
from foreshock_dashboard.model.types import Json

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<title>{title} · foreshock</title>
<link rel="icon" type="image/svg+xml" href="/assets/icon.svg">
<link rel="stylesheet" href="/theme.css">
<style>
body{{max-width:46rem;margin:2rem auto;padding:0 1rem;font:1rem/1.5 system-ui,sans-serif;
background:var(--page);color:var(--text)}}
a{{color:var(--link)}}
code{{font-family:ui-monospace,monospace;overflow-wrap:anywhere}}
pre{{overflow-x:auto;padding:.75rem;background:var(--raised)}}
td,th{{padding:.25rem .75rem .25rem 0;text-align:left;vertical-align:top}}
h1,td{{overflow-wrap:anywhere}}
td:first-child,td:first-child code{{overflow-wrap:normal}}
</style>
</head>
<body>
<nav><a href="/">Now</a> · <a href="/runbooks">Runbooks</a></nav>
<main>
{body}
</main>
</body>
</html>
"""
_RUNBOOK_LINK = re.compile(r"(\w+)\.md")
_markdown = MarkdownIt("js-default", {"html": False})  # CommonMark and tables; HTML in the text is escaped


def register(app: FastAPI) -> None:
    """Add the addresses to the app; before its pages, which take every other one."""
    app.add_api_route("/runbooks", _list, include_in_schema=False)
    app.add_api_route("/runbooks/{alert}", _runbook, include_in_schema=False)


def html_of(markdown: str) -> str:
    """A runbook as HTML. Links to other runbooks lead to their pages."""
    tokens = _markdown.parse(markdown)
    for token in tokens:
        for child in token.children or ():
            if link := _RUNBOOK_LINK.fullmatch(str(child.attrGet("href") or "")):
                child.attrSet("href", f"/runbooks/{link[1]}")
    return str(_markdown.renderer.render(tokens, _markdown.options, {})).strip()


def listed() -> Json:
    """Every alert rule with a runbook: its name, its meaning, and the address of its page."""
    return {
        "runbooks": [
            {"alert": name, "meaning": _meaning(file.read_text()), "address": f"/runbooks/{name}"}
            for name, file in sorted(_files().items())
        ]
    }


def _meaning(markdown: str) -> str:
    """The first paragraph below the heading "Meaning", as plain text."""
    found = re.search(r"^## Meaning\n+(.+?)(?:\n\n|\Z)", markdown, re.MULTILINE | re.DOTALL)
    return re.sub(r"[`*]|\]\([^)]*\)|\[", "", " ".join(found[1].split())) if found else ""


def _list() -> HTMLResponse:
    names = sorted(_files())
    body = "<h1>Runbooks</h1>\n<ul>" + "".join(f'<li><a href="/runbooks/{name}">{name}</a></li>' for name in names)
    return HTMLResponse(PAGE.format(title="Runbooks", body=body + "</ul>"))


def _runbook(alert: str) -> HTMLResponse:
    file = _files().get(alert)  # by name, so that no address leads out of the folder
    if file is None:
        raise HTTPException(404, f"unknown runbook {alert[:100]!r}. /runbooks lists all")
    return HTMLResponse(PAGE.format(title=escape(alert), body=html_of(file.read_text())))


def _files() -> dict[str, Path]:
    return {file.stem: file for file in (alerts_dir() / "runbooks").glob("*.md")}
