"""The page of a front: the verdict over all hubs, their open incidents, and which of them answer.

It needs no script: the browser loads it again every few seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from foreshock_dashboard.front.merge import Merged, name_of
from foreshock_dashboard.front.shards import HubAnswer
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.render.units import counted, elapsed, utc_timestamp

REFRESH_SECONDS = 10
MAX_CLUSTERS = 20
"""Names of clusters that a row shows."""
_NUMBERS, _WIDE = ("GPUs", "Services"), ' class="wide-cell"'
_PAGE = """<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <meta http-equiv="refresh" content="{refresh}">
    <title>{title}</title>
    {head}
  </head>
  <body>
    <header class="bar"><a class="brand" href="/"><span class="mark" aria-hidden="true"></span>
      <span class="brand-name">foreshock</span></a><span class="time">{time}</span></header>
    <main id="main">
      <h1 class="visually-hidden">Now</h1>
      <section class="verdict" data-state="{state}" aria-label="Verdict">
        <p class="headline">{headline}</p>
        <div class="verdict-detail">{problems}</div>
      </section>
      <div class="panels">
        {incidents}
        {hubs}
      </div>
    </main>
  </body>
</html>
"""


def page(found: Merged, answers: Sequence[HubAnswer], now: float, head: str) -> str:
    """The page as HTML. now: Unix seconds. head: tags of the style sheets."""
    problems = "".join(f"<li>{escape(text.rstrip('.'))}.</li>" for text in found.problems)
    heads = ("Incident", "Service", "Suspected cause", "Since", "Hub")
    without = "No known incidents." if found.problems else "No open incidents."
    incidents = _table(heads, map(_incident, found.open), without)
    hubs = _table(("Hub", "Answer", "Clusters", "GPUs", "Services"), (_hub(each, now) for each in answers), "")
    return _PAGE.format(
        refresh=REFRESH_SECONDS,
        title=escape(f"{found.headline.rstrip('.')} · foreshock"),
        head=head,
        time=utc_timestamp(now),
        state=found.state,
        headline=escape(found.headline),
        problems=f"<ul>{problems}</ul>" if problems else "",
        incidents=_panel("incidents", "Open incidents", incidents),
        hubs=_panel("hubs", "Hubs", hubs),
    )


def _panel(name: str, title: str, body: str) -> str:
    return (
        f'<section class="panel wide" data-state="ready" aria-labelledby="{name}-title"><div class="panel-head">'
        f'<h2 id="{name}-title">{title}</h2></div><div class="panel-body" id="{name}">{body}</div></section>'
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], without: str) -> str:
    """A table of cells as HTML; those of numbers are aligned on the right. without: the text if there are no rows."""
    body = "".join(f"<tr>{''.join(f'<td{_class(cell)}>{cell}</td>' for cell in row)}</tr>" for row in rows)
    if not body:
        return f"<p>{without}</p>"
    names = "".join(f'<th scope="col"{"" if name in _NUMBERS else _WIDE}>{name}</th>' for name in heads)
    return f'<div class="scroll"><table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table></div>'


def _class(cell: str) -> str:
    return "" if cell == "–" or cell.replace(",", "").isdecimal() else _WIDE


def _incident(item: Json) -> Sequence[str]:
    severity = "incident" if item["severity"] == "critical" else "early warning"
    link = f'<a href="{escape(item["url"])}">{escape(item["headline"])}</a>'
    return (
        f'<span class="state {escape(item["severity"])}">{severity}</span> {link}',
        escape(item["service"]),
        escape(item["suspect"]["text"] or "unknown"),
        utc_timestamp(item["opened"]) if item["opened"] else "unknown",
        escape(item["shard"] or item["url"].partition("/cascade?")[0]),
    )


def _hub(hub: HubAnswer, now: float) -> Sequence[str]:
    problem = hub.problem(now)
    age = "never" if hub.read_at is None else f"{elapsed(now - hub.read_at)} ago"
    named = [cluster or "(no cluster)" for cluster in hub.clusters]
    more = f" and {len(named) - MAX_CLUSTERS} more" if len(named) > MAX_CLUSTERS else ""
    return (
        f'<a href="{escape(hub.page or hub.url)}">{escape(name_of(hub))}</a>',
        f'<span class="{"bad" if problem else "ok"}">{escape(problem.rstrip(".") or "current")}</span>, {age}',
        escape(", ".join(named[:MAX_CLUSTERS]) + more),
        *("–" if hub.read_at is None else f"{count:,}" for count in (hub.gpus, hub.services)),
    )


def ready_text(found: Merged, answers: Sequence[HubAnswer]) -> str:
    """Why the list of incidents may be incomplete, in one line; "" if it is complete."""
    if not found.problems:
        return ""
    return f"{'; '.join(found.problems)} ({counted(len(answers), 'hub')})"
