"""Tables and JSON of the scores of `explain`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import orjson

from foreshock_evaluation.explanations.scoring import METHODS, OURS, OURS_WITH_WEAK, RANKS, SIGNAL_SETS, Answer
from foreshock_evaluation.scores.tables import Table, aligned, markdown

VERSION = 1


class Row(NamedTuple):
    """Scores of one method on a group of questions; NaN without questions.

    top: shares with a right service among the first 1, 3, 5. empty: share of faults without an answer. specificity:
    share of fault-free questions without an answer. at_most_low: share of those without an answer above low confidence;
    NaN for methods without confidence.
    """

    group: tuple[str, ...]
    method: str
    questions: int
    top: tuple[float, ...]
    empty: float
    quiet: int
    specificity: float
    at_most_low: float = math.nan


class Report(NamedTuple):
    """All scores. methods: by signals, asker, and time. kinds: of `explain`, by fault kind as well."""

    title: str
    methods: tuple[Row, ...]
    kinds: tuple[Row, ...]
    answers: tuple[Answer, ...]
    failed: tuple[tuple[str, str], ...]


def summarize(title: str, answers: Sequence[Answer], failed: Sequence[tuple[str, str]]) -> Report:
    """Group the answers."""
    methods = [_row(group, method, answers, quiet=True) for group in _groups(answers, _group) for method in METHODS]
    kinds = [
        _row(group, method, answers, quiet=False)
        for group in _groups(answers, _group_and_kind)
        for method in (OURS, OURS_WITH_WEAK)
    ]
    return Report(title, tuple(methods), tuple(kinds), tuple(answers), tuple(failed))


_ASKED = {"users": "service of the users", "all": "all services"}


def _after(answer: Answer) -> str:
    return "" if answer.offset is None else f"t + {answer.offset:g} s"


def _group(answer: Answer) -> tuple[str, ...]:
    return answer.topology, answer.signals, _ASKED[answer.asker], _after(answer)


def _group_and_kind(answer: Answer) -> tuple[str, ...]:
    return (*_group(answer), answer.kind)


def _groups(answers: Iterable[Answer], key: Callable[[Answer], tuple[str, ...]]) -> list[tuple[str, ...]]:
    order: dict[str, int] = {name: i for i, name in enumerate(SIGNAL_SETS)}
    found = {key(item) for item in answers if item.offset is not None}
    return sorted(found, key=lambda group: (group[0], order[group[1]], *group[2:]))


def _row(group: tuple[str, ...], method: str, answers: Sequence[Answer], *, quiet: bool) -> Row:
    mine = [item for item in answers if item.method == method]
    faults = [item for item in mine if item.offset is not None and _group_and_kind(item)[: len(group)] == group]
    without = [item for item in mine if quiet and item.offset is None and _group(item)[:3] == group[:3]]
    return Row(
        group,
        method,
        len(faults),
        tuple(_mean(item.hits[i] for item in faults) for i in range(len(RANKS))),
        _mean(item.empty for item in faults),
        len(without),
        _mean(item.empty for item in without),
        _mean(not item.above_low for item in without if method in (OURS, OURS_WITH_WEAK)),
    )


def _mean(values: Iterable[float]) -> float:
    known = [*values]
    return sum(known) / len(known) if known else math.nan


def method_table(rows: Sequence[Row]) -> Table:
    """A line for each method and group, with all times beside each other."""
    head = ("system", "signals", "asked about", "method")
    return [
        (*head, *_time_heads(rows), "faults", "specificity", "none above low confidence", "fault-free"),
        *(
            (*key, *cells, _share(last.specificity), _share(last.at_most_low), str(last.quiet))
            for key, cells, last in _by_time(rows, lambda row: (*row.group[:3], row.method))
        ),
    ]


def kind_table(rows: Sequence[Row]) -> Table:
    """A line for each kind of fault, with all times beside each other."""
    head = ("system", "signals", "asked about", "fault")
    lines = _by_time(rows, lambda row: (*row.group[:3], row.group[4]))
    return [(*head, *_time_heads(rows), "faults"), *((*key, *cells) for key, cells, _ in lines)]


def _time_heads(rows: Sequence[Row]) -> list[str]:
    names = "/".join(f"{k}" for k in RANKS)
    return [head for time in _times(rows) for head in (f"AS@{names} at {time}", "empty")]


def _times(rows: Sequence[Row]) -> list[str]:
    return sorted({row.group[3] for row in rows}, key=lambda time: (len(time), time))


def _by_time(
    rows: Sequence[Row], key: Callable[[Row], tuple[str, ...]]
) -> Iterator[tuple[tuple[str, ...], list[str], Row]]:
    """Key, cells of all times with the number of faults, and one row, of the rows that only differ in time."""
    groups: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        groups.setdefault(key(row), {})[row.group[3]] = row
    for name, by_time in groups.items():
        cells: list[str] = []
        for time in _times(rows):
            found = by_time.get(time)
            cells += ("–", "–") if found is None else (" / ".join(map(_share, found.top)), _share(found.empty))
        counts = dict.fromkeys(str(row.questions) for row in by_time.values())
        yield name, [*cells, ", ".join(counts)], next(iter(by_time.values()))


def answer_table(answers: Sequence[Answer]) -> Table:
    """A line for each answer of `explain`."""
    head = ("recording", "signals", "asked about", "at", "first right", "named")
    return [
        head,
        *(
            (
                item.recording,
                item.signals,
                _ASKED[item.asker],
                _after(item) or item.kind,
                next((f"≤ {k}" for k, hit in zip(RANKS, item.hits, strict=True) if hit), "–"),
                ", ".join(item.named) or item.problem or "none",
            )
            for item in sorted(answers)
            if item.method == OURS_WITH_WEAK
        ),
    ]


def terminal(report: Report, *, runs: bool) -> str:
    """Text report; with a line for each answer if `runs`."""
    return _laid_out(report, aligned, "\n", runs=runs)


def document(report: Report) -> str:
    """Generated part of a page of docs/internals/evaluation/."""
    return _laid_out(report, markdown, "\n\n", runs=False)


def _laid_out(report: Report, table: Callable[[Table], str], gap: str, *, runs: bool) -> str:
    tables = {
        "Answers": answer_table(report.answers if runs else ()),
        "Methods": method_table(report.methods),
        "Faults": kind_table([row for row in report.kinds if row.method == OURS]),
    }
    lines = [f"**{report.title}**" if table is markdown else report.title]
    lines += [f"{title}:{gap}{table(rows)}" for title, rows in tables.items() if len(rows) > 1]
    lines += [f"Could not be read: {name}: {error}" for name, error in report.failed]
    return "\n\n".join(lines)


def dump_json(report: Report) -> bytes:
    """JSON of a report; named tuples are objects, unknown numbers null."""
    return orjson.dumps(
        {
            "version": VERSION,
            "title": report.title,
            "methods": [row._asdict() for row in report.methods],
            "kinds": [row._asdict() for row in report.kinds],
            "answers": [answer._asdict() for answer in report.answers],
            "failed": [{"recording": name, "error": error} for name, error in report.failed],
        },
        option=orjson.OPT_INDENT_2,
    )


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2f}"
