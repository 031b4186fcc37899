"""A postmortem as HTML, as Markdown with its plots beside it or inside, and as an archive. Pure."""

from __future__ import annotations

import base64
import io
import re
import zipfile
from html import escape
from pathlib import Path
from urllib.parse import quote

from markdown_it import MarkdownIt

from foreshock_dashboard.web.documents.postmortem import Report

STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "td,th{padding:4px 12px;text-align:left}svg{max-width:100%}"
)


def zipped(written: Report, name: str) -> bytes:
    """A report as one file: a ZIP archive of a folder with the Markdown and its plots beside it."""
    folder = re.sub(r"[^\w.-]", "_", name)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(f"{folder}/report.md", written.markdown)
        for plot, svg in written.plots.items():
            file.writestr(f"{folder}/{plot}.svg", svg)
    return archive.getvalue()


def linked(written: Report, output_file: Path) -> tuple[str, dict[Path, str]]:
    """The Markdown with links to the plots, and the plots by file."""
    markdown, files = written.markdown, {}
    for name, svg in written.plots.items():
        path = output_file.with_name(f"{output_file.stem}-{name}.svg")
        markdown = markdown.replace(f"]({name}.svg)", f"]({quote(path.name)})")
        files[path] = svg
    return markdown, files


def embedded(written: Report) -> str:
    """The Markdown with each plot as a data URI (RFC 2397)."""
    markdown = written.markdown
    for name, svg in written.plots.items():
        data = base64.b64encode(svg.encode()).decode()
        markdown = markdown.replace(f"]({name}.svg)", f"](data:image/svg+xml;base64,{data})")
    return markdown


def without_plots(written: Report) -> str:
    """The Markdown alone."""
    return re.sub(r"!\[[^\]]*\]\([^)]*\.svg\)\n+", "", written.markdown)


def html(written: Report) -> str:
    """The report as one HTML document with the plots inside."""
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(written.markdown)
    for name, svg in written.plots.items():
        alt = name.replace("-", " ")
        body = body.replace(f'<img src="{name}.svg" alt="{alt}" />', svg[svg.index("<svg") :])
    title = escape(written.markdown.splitlines()[0].removeprefix("# "))
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title>\n'
        f"<style>{STYLE}</style>\n<body>\n{body}</body></html>\n"
    )
