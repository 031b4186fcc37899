"""The table of an evaluation as text for a terminal, as Markdown, and figures as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from foreshock_dashboard.evaluation.figures import Bounds, Figure, Unit
from foreshock_dashboard.evaluation.groups import ScenarioRow
from foreshock_dashboard.evaluation.outcome import Outcome
from foreshock_dashboard.evaluation.resampling import Estimate

Table = Sequence[Sequence[str]]


def number(value: float, unit: Unit) -> str:
    """`0.93`, `210 s`, `0.05`; a dash where it is not known."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞"
    match unit:
        case "seconds":
            return f"{value:.0f} s"
        case "points":
            return f"{value:.1f}"
        case "pages":
            return f"{value:.0f}"
        case _:
            return f"{value:.2f}"


def interval(estimate: Estimate, unit: Unit) -> str:
    """`0.81–0.97`; a dash where it is not known."""
    if math.isnan(estimate.low):
        return "–"
    low, high = number(estimate.low, unit), number(estimate.high, unit)
    return f"{low.removesuffix(' s')}–{high}"


def asked(bounds: Bounds | None, unit: Unit) -> str:
    """`≥ 0.90`, `≤ 0.30`, `0.65–0.95`."""
    if bounds is None:
        return ""
    if math.isinf(bounds.most):
        return f"≥ {number(bounds.least, unit)}"
    if math.isinf(bounds.least):
        return f"≤ {number(bounds.most, unit)}"
    return f"{number(bounds.least, unit)}–{number(bounds.most, unit)}"


def figure_table(figures: Sequence[Figure]) -> Table:
    """The figures, with what is asked of each."""
    rows = [
        (
            each.name,
            number(each.estimate.value, each.unit),
            interval(each.estimate, each.unit),
            str(each.estimate.runs),
            asked(each.bar, each.unit),
            asked(each.best, each.unit),
            each.standing,
        )
        for each in figures
    ]
    return [("", "reached", "95 %", "of", "bar", "world-class", ""), *rows]


def scenario_table(rows: Sequence[ScenarioRow]) -> Table:
    """A line for each scenario."""
    head = ("scenario", "runs", "cascade after", "warned", "early", "lead", "paged after", "advised", "false pages",
            "causes at first page", "culprits at first page")  # fmt: skip
    return [head, *(_scenario(row) for row in rows)]


def _scenario(row: ScenarioRow) -> tuple[str, ...]:
    timing = (number(row.gap, "seconds"), str(row.warned), str(row.early), number(row.lead, "seconds"))
    return (
        row.scenario,
        str(row.runs),
        *(timing if row.cascade else ("", "", "", "")),
        number(row.delay, "seconds") if row.cascade else "",
        str(row.advised),
        str(row.false),
        _counted(row.causes),
        _counted(row.culprits),
    )


def _counted(found: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{name or 'nobody'} {count}" for name, count in found)


def run_table(outcomes: Sequence[Outcome]) -> Table:
    """A line for each run."""
    head = ("run", "cascade after", "page after", "lead", "false", "advised after", "cause", "culprit", "right")
    return [head, *(_run(each) for each in outcomes)]


def _run(each: Outcome) -> tuple[str, ...]:
    unknown, verdict = math.nan, each.verdict
    delay, advised = each.pages.delay, each.advisories.delay
    marks = (
        " ".join(
            name
            for name, right in (
                ("cause", verdict.right_cause),
                ("top-1", verdict.top1),
                ("top-3", verdict.top3),
                ("pair", bool(verdict.pair)),
            )
            if right
        )
        if verdict
        else ""
    )
    return (
        each.run.name + ("" if each.scored else " (not scored)"),
        number(unknown if each.gap is None else each.gap, "seconds"),
        number(unknown if delay is None else delay, "seconds"),
        number(each.pages.lead, "seconds") if each.expected else "",
        str(each.pages.false),
        number(unknown if advised is None else advised, "seconds"),
        verdict.cause if verdict else "",
        verdict.named if verdict else "",
        marks,
    )


def plain(table: Table) -> str:
    """Columns under each other."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return "\n".join(lines)


def markdown(table: Table) -> str:
    """A table of Markdown."""
    head, *rows = table
    lines = [f"| {' | '.join(row)} |" for row in (head, tuple("---" for _ in head), *rows)]
    return "\n".join(lines)
