"""Reports of an evaluation: text tables for a terminal, and Markdown for docs/internals/evaluation/."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from foreshock_evaluation.comparison import OperatingPoint, RankingRow
from foreshock_evaluation.evaluation import Evaluation
from foreshock_evaluation.figures import Bounds, Figure, Unit
from foreshock_evaluation.scores.by_class import ClassRow
from foreshock_evaluation.scores.outcome import Outcome, ScenarioRow
from foreshock_evaluation.scores.resampling import Estimate
from foreshock_evaluation.scores.tables import Table, aligned, markdown
from foreshock_evaluation.scores.verdict import Verdict

_PATTERNS = {"seconds": "{:.0f} s", "points": "{:.1f}", "pages": "{:.0f}"}


def format_number(value: float | None, unit: Unit) -> str:
    """`0.93`, `210 s`, `0.05`; a dash where it is not known."""
    if value is None or math.isnan(value):
        return "–"
    return "∞" if math.isinf(value) else _PATTERNS.get(unit, "{:.2f}").format(value)


def format_interval(estimate: Estimate, unit: Unit) -> str:
    """`0.81–0.97`; a dash where it is not known."""
    if math.isnan(estimate.low):
        return "–"
    return f"{format_number(estimate.low, unit).removesuffix(' s')}–{format_number(estimate.high, unit)}"


def format_bounds(bounds: Bounds | None, unit: Unit) -> str:
    """`≥ 0.90`, `≤ 0.30`, `0.65–0.95`."""
    if bounds is None:
        return ""
    least, most = format_number(bounds.least, unit), format_number(bounds.most, unit)
    if math.isinf(bounds.most):
        return f"≥ {least}"
    return f"≤ {most}" if math.isinf(bounds.least) else f"{least}–{most}"


def figure_table(figures: Sequence[Figure]) -> Table:
    """Figures with their intervals and bounds, if any has them."""
    rows = [
        (
            figure.name,
            format_number(figure.estimate.value, figure.unit),
            format_interval(figure.estimate, figure.unit),
            str(figure.estimate.runs),
            format_bounds(figure.bar, figure.unit),
            format_bounds(figure.best, figure.unit),
            figure.standing,
        )
        for figure in figures
    ]
    table = [("", "value", "95%", "runs", "bar", "world-class", ""), *rows]
    return (
        table if any(figure.bar for figure in figures) else [(name, value, runs) for name, value, _, runs, *_ in table]
    )


def class_table(rows: Sequence[ClassRow]) -> Table:
    """A line for each class of scenarios."""
    head = ("class", "runs", "cascades", "cascade after", "warned", "early", "lead", "lead share",
            "root cause top-1", "benign runs paged", "false pages")  # fmt: skip
    return [head, *(_class(row) for row in rows)]


def _class(row: ClassRow) -> tuple[str, ...]:
    return (
        row.name,
        str(row.runs),
        str(row.cascades),
        format_number(row.gap, "seconds"),
        f"{row.warned} of {row.cascades}" if row.cascades else "",
        f"{row.early} of {row.warnable}" if row.warnable else "",
        format_number(row.lead, "seconds"),
        format_number(row.lead_share, "share"),
        format_number(row.top1, "share"),
        f"{row.paged} of {row.benign}" if row.benign else "",
        str(row.false),
    )


def scenario_table(rows: Sequence[ScenarioRow]) -> Table:
    """A line for each scenario."""
    head = ("scenario", "runs", "cascade after", "warned", "early", "lead", "paged after", "early warnings",
            "false pages", "causes at first page", "root causes at first page")  # fmt: skip
    return [head, *(_scenario(row) for row in rows)]


def _scenario(row: ScenarioRow) -> tuple[str, ...]:
    gap, lead, delay = (format_number(seconds, "seconds") for seconds in (row.gap, row.lead, row.delay))
    timing = (gap, str(row.warned), str(row.early), lead, delay)
    return (
        row.scenario,
        str(row.runs),
        *(timing if row.cascade else [""] * len(timing)),
        str(row.early_warnings),
        str(row.false),
        _counts(row.causes),
        _counts(row.root_causes),
    )


def _counts(counts: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{name or 'none'} {count}" for name, count in counts)


def run_table(outcomes: Sequence[Outcome]) -> Table:
    """A line for each run."""
    head = (
        "run",
        "cascade after",
        "page after",
        "lead",
        "false",
        "early warning after",
        "cause",
        "root cause",
        "right",
    )
    return [head, *(_run(outcome) for outcome in outcomes)]


def _run(outcome: Outcome) -> tuple[str, ...]:
    return (
        outcome.run.name + ("" if outcome.scored else " (not scored)"),
        format_number(outcome.gap, "seconds"),
        format_number(outcome.pages.delay_seconds, "seconds"),
        format_number(outcome.pages.lead_seconds, "seconds") if outcome.expects_cascade else "",
        str(outcome.pages.false_alarms),
        format_number(outcome.early_warnings.delay_seconds, "seconds"),
        *(_verdict(outcome.verdict) if outcome.verdict else ("", "", "")),
    )


def _verdict(verdict: Verdict) -> tuple[str, str, str]:
    right = {"cause": verdict.right_cause, "top-1": verdict.top1, "top-3": verdict.top3, "pair": verdict.pair}
    return verdict.cause or "not stated", verdict.named, " ".join(name for name, is_right in right.items() if is_right)


def terminal(evaluation: Evaluation, *, runs: bool) -> str:
    """Text report; with a line for each run if `runs`."""
    return _laid_out(evaluation, aligned, "\n", runs=runs)


def document(evaluation: Evaluation, *, runs: bool = False) -> str:
    """Generated part of a page of docs/internals/evaluation/; with a line for each run if `runs`."""
    return _laid_out(evaluation, markdown, "\n\n", runs=runs) + f"\n\n{_late(evaluation)}"


def _laid_out(evaluation: Evaluation, table: Callable[[Table], str], gap: str, *, runs: bool) -> str:
    tables = {
        "Runs": run_table(evaluation.runs if runs else ()),
        "Figures": figure_table(evaluation.figures),
        "Classes of scenarios": class_table(evaluation.classes),
        "Scenarios": scenario_table(evaluation.scenarios),
        "At no more false pages than ours": point_table(evaluation.equal),
        "Lead against false pages, at every threshold": point_table(evaluation.curve),
        "Root cause at our first page": ranked_table(evaluation.ranked),
    }
    lines = [f"**{evaluation.title}**" if table is markdown else evaluation.title]
    lines += [f"{title}:{gap}{table(rows)}" for title, rows in tables.items() if len(rows) > 1]
    if evaluation.unscored:
        names = ", ".join(outcome.run.name for outcome in evaluation.unscored)
        lines.append(f"Not scored, because they contradict their scenario: {names}.")
    lines += [f"Could not be replayed: {name}: {error}" for name, error in evaluation.failed]
    return "\n\n".join(lines)


def point_table(points: Sequence[OperatingPoint]) -> Table:
    """A line for each point of the curve; the thresholds in use are marked."""
    head = ("detector", "threshold", "false pages per service-day", "warned", "early", "95%", "lead, median",
            "ours earlier by", "95%")  # fmt: skip
    return [head, *(_point(point) for point in points)]


def _point(point: OperatingPoint) -> tuple[str, ...]:
    has_threshold = not math.isnan(point.threshold)
    is_ours = point.default and not has_threshold
    return (
        point.detector,
        f"{point.threshold:g}{' (default)' if point.default else ''}" if has_threshold else "",
        format_number(point.false.value, "per day"),
        format_number(point.warned.value, "share"),
        format_number(point.early.value, "share"),
        format_interval(point.early, "share"),
        format_number(point.lead.value, "seconds"),
        "" if is_ours else format_number(point.ahead.value, "share"),
        "" if is_ours else format_interval(point.ahead, "share"),
    )


def ranked_table(rows: Sequence[RankingRow]) -> Table:
    """A line for each ranking."""
    lines = [
        (name, format_number(top1.value, "share"), format_interval(top1, "share"), format_number(top3.value, "share"))
        for name, top1, top3 in rows
    ]
    return [("ranking", "top-1", "95%", "top-3"), *lines]


def _late(evaluation: Evaluation) -> str:
    """Cascades without a warning before their onset, and those with a wrong first page."""
    cascades = [outcome for outcome in evaluation.runs if outcome.scored and outcome.expects_cascade]
    late = [f"{outcome.run.name} ({_page_after_onset(outcome)})" for outcome in cascades if not outcome.pages.early]
    wrong = [
        f"{outcome.run.name} ({outcome.verdict.named or 'none'}, {outcome.verdict.cause or 'not stated'})"
        for outcome in cascades
        if outcome.verdict and not (outcome.verdict.top1 and outcome.verdict.right_cause is not False)
    ]
    return (
        f"Paged after the onset (seconds after it): {', '.join(late) or 'none'}.\n\n"
        f"Other root cause or cause class at the first page: {', '.join(wrong) or 'none'}."
    )


def _page_after_onset(outcome: Outcome) -> str:
    delay, gap = outcome.pages.delay_seconds, outcome.gap
    return format_number(None if delay is None or gap is None else delay - gap, "seconds")
