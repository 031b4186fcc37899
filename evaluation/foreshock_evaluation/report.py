"""Reports of an evaluation: text tables for a terminal, and Markdown for docs/evaluation.md."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from foreshock_evaluation.comparison import OperatingPoint, RankingRow
from foreshock_evaluation.evaluation import Evaluation
from foreshock_evaluation.figures import Bounds, Figure, Unit
from foreshock_evaluation.outcome import Outcome, ScenarioRow
from foreshock_evaluation.resampling import Estimate

Table = Sequence[Sequence[str]]


def format_number(value: float, unit: Unit) -> str:
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


def format_interval(estimate: Estimate, unit: Unit) -> str:
    """`0.81–0.97`; a dash where it is not known."""
    if math.isnan(estimate.low):
        return "–"
    low, high = format_number(estimate.low, unit), format_number(estimate.high, unit)
    return f"{low.removesuffix(' s')}–{high}"


def format_bounds(bounds: Bounds | None, unit: Unit) -> str:
    """`≥ 0.90`, `≤ 0.30`, `0.65–0.95`."""
    if bounds is None:
        return ""
    if math.isinf(bounds.most):
        return f"≥ {format_number(bounds.least, unit)}"
    if math.isinf(bounds.least):
        return f"≤ {format_number(bounds.most, unit)}"
    return f"{format_number(bounds.least, unit)}–{format_number(bounds.most, unit)}"


def figure_table(figures: Sequence[Figure]) -> Table:
    """Figures with their bounds."""
    rows = [
        (
            each.name,
            format_number(each.estimate.value, each.unit),
            format_interval(each.estimate, each.unit),
            str(each.estimate.runs),
            format_bounds(each.bar, each.unit),
            format_bounds(each.best, each.unit),
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
    timing = (format_number(row.gap, "seconds"), str(row.warned), str(row.early), format_number(row.lead, "seconds"))
    return (
        row.scenario,
        str(row.runs),
        *(timing if row.cascade else ("", "", "", "")),
        format_number(row.delay, "seconds") if row.cascade else "",
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
    delay, advised = each.pages.delay_seconds, each.advisories.delay_seconds
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
        format_number(unknown if each.gap is None else each.gap, "seconds"),
        format_number(unknown if delay is None else delay, "seconds"),
        format_number(each.pages.lead_seconds, "seconds") if each.expected else "",
        str(each.pages.false_alarms),
        format_number(unknown if advised is None else advised, "seconds"),
        verdict.cause if verdict else "",
        verdict.named if verdict else "",
        marks,
    )


def aligned(table: Table) -> str:
    """Columns under each other."""
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    return "\n".join(lines)


def markdown(table: Table) -> str:
    """A table of Markdown."""
    head, *rows = table
    lines = [f"| {' | '.join(row)} |" for row in (head, tuple("---" for _ in head), *rows)]
    return "\n".join(lines)


EQUAL = "At no more false pages than ours"
CURVE = "Lead against false pages, at every threshold"
RANKED = "Culprit at our first page"


def terminal(evaluation: Evaluation, *, runs: bool) -> str:
    """Text report; with a line for each run if `runs`."""
    return _laid_out(evaluation, aligned, "\n", runs=runs)


def document(evaluation: Evaluation) -> str:
    """Generated part of docs/evaluation.md."""
    return _laid_out(evaluation, markdown, "\n\n", runs=False) + f"\n\n{_late(evaluation)}"


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


def _laid_out(evaluation: Evaluation, table: Callable[[Table], str], gap: str, *, runs: bool) -> str:
    parts: list[tuple[str, Table]] = []
    if runs:
        parts.append(("Runs", run_table(evaluation.runs)))
    parts += [("Figures", figure_table(evaluation.figures)), ("Scenarios", scenario_table(evaluation.scenarios))]
    if evaluation.equal:
        parts += [(EQUAL, point_table(evaluation.equal)), (CURVE, point_table(evaluation.curve))]
    if evaluation.ranked:
        parts.append((RANKED, ranked_table(evaluation.ranked)))
    lines = [f"**{evaluation.title}**" if table is markdown else evaluation.title]
    lines += [f"{title}:{gap}{table(rows)}" for title, rows in parts if len(rows) > 1]
    if evaluation.unscored:
        lines.append(
            f"Not scored, as they went otherwise than meant: {', '.join(r.run.name for r in evaluation.unscored)}."
        )
    lines += [f"Could not be played: {name}: {error}" for name, error in evaluation.failed]
    return "\n\n".join(lines)


def point_table(points: Sequence[OperatingPoint]) -> Table:
    """A line for each point of the curve; the thresholds in use are marked."""
    head = ("detector", "threshold", "false pages per service-day", "warned", "early", "95 %", "lead, median",
            "ours earlier by", "95 %")  # fmt: skip
    return [head, *(_point(each) for each in points)]


def _point(each: OperatingPoint) -> tuple[str, ...]:
    mark = " (usual)" if each.usual else ""
    ours = math.isnan(each.threshold) and each.usual
    return (
        each.detector,
        "" if math.isnan(each.threshold) else f"{each.threshold:g}{mark}",
        format_number(each.false.value, "per day"),
        format_number(each.warned.value, "share"),
        format_number(each.early.value, "share"),
        format_interval(each.early, "share"),
        format_number(each.lead.value, "seconds"),
        "" if ours else format_number(each.ahead.value, "share"),
        "" if ours else format_interval(each.ahead, "share"),
    )


def ranked_table(rows: Sequence[RankingRow]) -> Table:
    """A line for each ranking."""
    lines = [
        (
            row.name,
            format_number(row.top1.value, "share"),
            format_interval(row.top1, "share"),
            format_number(row.top3.value, "share"),
        )
        for row in rows
    ]
    return [("ranking", "top-1", "95 %", "top-3"), *lines]


def _late(evaluation: Evaluation) -> str:
    """Cascades without a warning before their onset, and those with a wrong first page."""
    counted = [each for each in evaluation.runs if each.scored and each.expected]
    late = [
        f"{each.run.name} ({format_number(_delay(each.pages.delay_seconds, each.gap), 'seconds')})"
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
