"""An evaluation for people: text for a terminal, and a part of a document in Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from foreshock_dashboard.evaluation.contest import Point, RankedRow
from foreshock_dashboard.evaluation.evaluation import Evaluation
from foreshock_dashboard.evaluation.text import (
    Table,
    figure_table,
    interval,
    markdown,
    number,
    plain,
    run_table,
    scenario_table,
)

EQUAL = "At no more false pages than ours"
CURVE = "Lead against false pages, at every threshold"
RANKED = "Culprit at our first page"


def terminal(found: Evaluation, *, runs: bool) -> str:
    """All of it; a line for each run where that is asked for."""
    return _laid_out(found, plain, "\n", runs=runs)


def document(found: Evaluation) -> str:
    """The part of docs/evaluation.md that this evaluation writes."""
    return _laid_out(found, markdown, "\n\n", runs=False) + f"\n\n{_late(found)}"


def between(text: str, name: str, part: str) -> str:
    """A document with the part between the markers of that name replaced.

    Raises:
        ValueError: the markers are not there.
    """
    begin, end = f"<!-- evaluate {name} -->", f"<!-- end of evaluate {name} -->"
    before, opened, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (opened and closed):
        raise ValueError(f"has no lines {begin!r} and {end!r}; add them where the tables are to stand")
    return f"{before}{begin}\n{part}\n{end}{after}"


def _laid_out(found: Evaluation, table: Callable[[Table], str], gap: str, *, runs: bool) -> str:
    parts: list[tuple[str, Table]] = []
    if runs:
        parts.append(("Runs", run_table(found.runs)))
    parts += [("Figures", figure_table(found.figures)), ("Scenarios", scenario_table(found.scenarios))]
    if found.equal:
        parts += [(EQUAL, point_table(found.equal)), (CURVE, point_table(found.curve))]
    if found.ranked:
        parts.append((RANKED, ranked_table(found.ranked)))
    lines = [f"**{found.title}**" if table is markdown else found.title]
    lines += [f"{title}:{gap}{table(rows)}" for title, rows in parts if len(rows) > 1]
    if found.unscored:
        lines.append(f"Not scored, as they went otherwise than meant: {', '.join(r.run.name for r in found.unscored)}.")
    lines += [f"Could not be played: {name}: {error}" for name, error in found.failed]
    return "\n\n".join(lines)


def point_table(points: Sequence[Point]) -> Table:
    """A line for each point of the curve; the thresholds in use are marked."""
    head = ("detector", "threshold", "false pages per service-day", "warned", "early", "95 %", "lead, median",
            "ours earlier by", "95 %")  # fmt: skip
    return [head, *(_point(each) for each in points)]


def _point(each: Point) -> tuple[str, ...]:
    mark = " (usual)" if each.usual else ""
    ours = math.isnan(each.threshold) and each.usual
    return (
        each.detector,
        "" if math.isnan(each.threshold) else f"{each.threshold:g}{mark}",
        number(each.false.value, "per day"),
        number(each.warned.value, "share"),
        number(each.early.value, "share"),
        interval(each.early, "share"),
        number(each.lead.value, "seconds"),
        "" if ours else number(each.ahead.value, "share"),
        "" if ours else interval(each.ahead, "share"),
    )


def ranked_table(rows: Sequence[RankedRow]) -> Table:
    """A line for each ranking."""
    lines = [
        (row.name, number(row.top1.value, "share"), interval(row.top1, "share"), number(row.top3.value, "share"))
        for row in rows
    ]
    return [("ranking", "top-1", "95 %", "top-3"), *lines]


def _late(found: Evaluation) -> str:
    """The cascades that were not warned of before their onset, and those whose first page was wrong."""
    counted = [each for each in found.runs if each.scored and each.expected]
    late = [
        f"{each.run.name} ({number(_delay(each.pages.delay, each.gap), 'seconds')})"
        for each in counted
        if not each.pages.early
    ]
    wrong = [
        f"{each.run.name} ({each.verdict.named or 'nobody'}, {each.verdict.cause})"
        for each in counted
        if each.verdict and not (each.verdict.top1 and each.verdict.right_cause)
    ]
    return (
        f"Not warned of before their onset (seconds from it to the page): {', '.join(late) or 'none'}.\n\n"
        f"Another culprit or cause at the first page: {', '.join(wrong) or 'none'}."
    )


def _delay(page: float | None, gap: float | None) -> float:
    return math.nan if page is None or gap is None else page - gap
