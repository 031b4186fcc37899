"""`/runbooks/<alert>`: the runbooks that come along, as plain HTML that needs no script.

Of Markdown it knows what the runbooks use: headings, paragraphs, lists, tables, blocks of code, and in a line code,
emphasis and links. All else is text, and all text is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
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
_SPAN = re.compile(r"`([^`]+)`|\[([^\]]+)\]\(([^)\s]+)\)|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*")
_ITEM = re.compile(r"(?:(\d+)\.|-) +")


def register(app: FastAPI) -> None:
    """Add the addresses to the app; before its pages, which take every other one."""
    app.add_api_route("/runbooks", _list, include_in_schema=False)
    app.add_api_route("/runbooks/{alert}", _runbook, include_in_schema=False)


def html_of(markdown: str) -> str:
    """A runbook as HTML, a line for each block."""
    return "\n".join(_blocks(markdown.splitlines()))


def listed() -> Json:
    """Every alert that comes along, by name, with what it means and the address of its runbook."""
    return {
        "runbooks": [
            {"alert": name, "meaning": _meaning(file.read_text()), "address": f"/runbooks/{name}"}
            for name, file in sorted(_files().items())
        ]
    }


def _meaning(markdown: str) -> str:
    """The first paragraph below its heading, as plain text."""
    found = re.search(r"^## Meaning\n+(.+?)(?:\n\n|\Z)", markdown, re.MULTILINE | re.DOTALL)
    return re.sub(r"[`*]|\]\([^)]*\)|\[", "", " ".join(found[1].split())) if found else ""


def _list() -> HTMLResponse:
    names = sorted(_files())
    body = "<h1>Runbooks</h1>\n<ul>" + "".join(f'<li><a href="/runbooks/{name}">{name}</a></li>' for name in names)
    return HTMLResponse(PAGE.format(title="Runbooks", body=body + "</ul>"))


def _runbook(alert: str) -> HTMLResponse:
    file = _files().get(alert)  # by name, so that no address leads out of the folder
    if file is None:
        raise HTTPException(404, f"there is no runbook {alert[:100]!r}; /runbooks lists all")
    return HTMLResponse(PAGE.format(title=escape(alert), body=html_of(file.read_text())))


def _files() -> dict[str, Path]:
    return {file.stem: file for file in (alerts_dir() / "runbooks").glob("*.md")}


def _blocks(lines: Sequence[str]) -> Iterator[str]:
    at = 0
    while at < len(lines):
        line = lines[at]
        end = at + 1
        if line.startswith("```"):
            while end < len(lines) and not lines[end].startswith("```"):
                end += 1
            yield f"<pre><code>{escape(chr(10).join(lines[at + 1 : end]))}</code></pre>"
            end += 1
        elif heading := re.match(r"(#{1,4}) +(.*)", line):
            level = len(heading[1])
            yield f"<h{level}>{_inline(heading[2])}</h{level}>"
        elif line.strip():
            while end < len(lines) and lines[end].strip() and not lines[end].startswith(("```", "#")):
                end += 1
            yield _block(lines[at:end])
        at = end


def _block(lines: Sequence[str]) -> str:
    if lines[0].startswith("|"):
        return _table(lines)
    if first := _ITEM.match(lines[0]):
        tag = "ol" if first[1] else "ul"
        return f"<{tag}>{''.join(f'<li>{_inline(item)}</li>' for item in _items(lines))}</{tag}>"
    return f"<p>{_inline(' '.join(line.strip() for line in lines))}</p>"


def _items(lines: Sequence[str]) -> list[str]:
    """List items, each with the lines that go on with it."""
    items: list[str] = []
    for line in lines:
        if mark := _ITEM.match(line):
            items.append(line[mark.end() :])
        else:
            items[-1] += " " + line.strip()
    return items


def _table(lines: Sequence[str]) -> str:
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines]
    head = "".join(f"<th>{_inline(cell)}</th>" for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in row) + "</tr>" for row in rows[2:])
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _inline(text: str) -> str:
    found, at = [], 0
    for match in _SPAN.finditer(text):
        found += [escape(text[at : match.start()]), _span(match)]
        at = match.end()
    return "".join([*found, escape(text[at:])])


def _span(match: re.Match[str]) -> str:
    code, label, target, strong, emphasis = match.groups()
    if code is not None:
        return f"<code>{escape(code)}</code>"
    if label is not None:
        return f'<a href="{escape(_address(target))}">{_inline(label)}</a>'
    return f"<strong>{_inline(strong)}</strong>" if strong is not None else f"<em>{_inline(emphasis)}</em>"


def _address(target: str) -> str:
    """Of a link: another runbook, or the web; never a script."""
    if match := re.fullmatch(r"(\w+)\.md", target):
        return f"/runbooks/{match[1]}"
    return target if target.startswith(("http://", "https://", "/")) else "#"
