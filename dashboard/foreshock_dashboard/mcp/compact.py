"""Answers of the API reduced to those of the tools: bounded rows, times in words, no text that repeats another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache, partial
from typing import TypeVar, get_args, get_type_hints

from foreshock_dashboard.mcp.answers import (
    ActionRow,
    AddedAnswer,
    Answer,
    AtRiskRow,
    CallRow,
    CandidateRow,
    CapacityAnswer,
    ChangeRow,
    ComparedAnswerRow,
    ComparedRange,
    CostAnswer,
    EvidenceRow,
    FillingRow,
    GpuAnswerRow,
    GpuList,
    GpuShareRow,
    HolderRow,
    IncidentExplanation,
    IncidentList,
    IncidentRow,
    LimitAnswerRow,
    LimitList,
    LoadNeedRow,
    NeedAnswer,
    NoteRow,
    PairAnswerRow,
    PairList,
    PeopleRow,
    Postmortem,
    RangeComparison,
    RootCauses,
    ServiceAnswerRow,
    ServiceList,
    ShortageRow,
    SuspectRow,
    Time,
    UnusedRow,
)
from foreshock_dashboard.mcp.untrusted import NOTICE, clean_command, clean_document
from foreshock_dashboard.model.types import HEALTH_ORDER, Json
from foreshock_dashboard.render.clause import filled_text
from foreshock_dashboard.render.incident_text import MAX_LISTED as MAX_CANDIDATES
from foreshock_dashboard.render.incident_text import cause_label, evidence_text, risk_text
from foreshock_dashboard.render.units import minutes_of
from foreshock_dashboard.render.words.panels import HISTORY_BEING_READ
from foreshock_dashboard.render.words.status import DATA_STATES

MAX_ROWS = 50
"""Rows of a list."""
MAX_NAMES = 20
"""Names within a row."""
MAX_DETAILS = 12
"""Signals, actions, candidates, and services at risk of one incident."""
MAX_NOTES = 5
MAX_MARKDOWN = 24_000
"""Characters of a postmortem."""

RowType = TypeVar("RowType")


def _envelope(answer: Json) -> Answer:
    state = answer["learning"]
    learning = (
        "" if state["done"] else filled_text(DATA_STATES["learning"], progress=minutes_of(state["have"], state["need"]))
    )
    problem = answer["error"] or (HISTORY_BEING_READ if answer.get("preview") else learning)
    return {
        "notice": NOTICE,
        "data_time": _time(answer["data_time"]),
        "simulated": answer["simulated"],
        "problem": problem,
    }


def _time(seconds: float | None) -> str | None:
    """Unix seconds as RFC 3339 in UTC, to the second."""
    return None if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _first(rows: Sequence[Json], make: Callable[[Json], RowType], most: int = MAX_ROWS) -> tuple[list[RowType], int]:
    """The first rows, and how many others there are."""
    return list(map(make, rows[:most])), max(0, len(rows) - most)


@cache
def _fields(kind: object) -> dict[str, bool]:
    """The fields of a row, and whether each is a time, whatever its description is."""
    hints = get_type_hints(kind, include_extras=True)
    return {name: get_args(hint)[:2] == get_args(Time) for name, hint in hints.items()}


def _row(kind: Callable[..., RowType], source: Json, **own: object) -> RowType:
    """The fields of a row of the API by the same names: times in words, and the first names of a list.

    kind: the type of the row. own: fields with another name or value there.
    """

    def value(name: str, *, is_time: bool) -> object:
        found = source[name]
        return _time(found) if is_time else found[:MAX_NAMES] if isinstance(found, list) else found

    row = {name: value(name, is_time=time) for name, time in _fields(kind).items() if name not in own}
    return kind(**row, **own)


def incident_list(answer: Json) -> IncidentList:
    """Of `/api/incidents`."""
    rows, omitted = _first(answer["incidents"], _incident_row)
    return {**_envelope(answer), "incidents": rows, "omitted": omitted}


def _incident_row(row: Json) -> IncidentRow:
    acknowledged = row["response"]["acknowledged"]
    return _row(
        IncidentRow,
        row,
        cause_label=cause_label(row),
        suspect=row["suspect"]["text"],
        candidates=[] if row["cause"] else [each["service"] for each in row["candidates"][:MAX_CANDIDATES]],
        confidence=row["confidence_level"],
        acknowledged_by=acknowledged["by"] if acknowledged else None,
        action=row["actions"][0]["text"] if row["actions"] else None,
    )


def incident_explanation(answer: Json, row: Json) -> IncidentExplanation:
    """Of `/api/incidents` and one of its rows."""
    at_risk, omitted_risks = _first(row["at_risk"], _at_risk, MAX_DETAILS)
    candidates, omitted_candidates = _first(row["candidates"], _candidate, MAX_DETAILS)
    evidence, omitted_evidence = _first(row["evidence"], _evidence, MAX_DETAILS)
    actions, omitted_actions = _first(row["actions"], _action, MAX_DETAILS)
    omitted_names = max(0, len(row["affected"]) - MAX_NAMES)
    suspect = row["suspect"]
    change = _row(ChangeRow, suspect["change"]) if suspect["change"] else None
    return _row(
        IncidentExplanation,
        row,
        **_envelope(answer),
        cause_label=cause_label(row),
        confidence=row["confidence_level"],
        suspect=_row(SuspectRow, suspect, call=suspect["edge"], change=change),
        at_risk=at_risk,
        candidates=candidates,
        evidence=evidence,
        actions=actions,
        people=_people(row),
        omitted=omitted_names + omitted_risks + omitted_candidates + omitted_evidence + omitted_actions,
    )


def _at_risk(risk: Json) -> AtRiskRow:
    bounds = {f"breach_seconds_{name}": value for name, value in risk["breach_seconds"].items()}
    return _row(AtRiskRow, {**risk, **bounds}, text=risk_text(risk))


_candidate = partial(_row, CandidateRow)


def _evidence(row: Json) -> EvidenceRow:
    return _row(EvidenceRow, row, text=evidence_text(row))


def _action(row: Json) -> ActionRow:
    commands = {name: clean_command(row[name]) for name in ("command", "revert_command")}
    return _row(ActionRow, row, **commands)


def _people(row: Json) -> PeopleRow:
    response, acknowledged = row["response"], row["response"]["acknowledged"]
    assignment, silence = response["assignment"], response["silence"]
    return {
        "owner": row["ownership"]["owner"],
        "acknowledged_by": acknowledged["by"] if acknowledged else None,
        "acknowledged_at": _time(acknowledged["at"]) if acknowledged else None,
        "assignee": assignment["assignee"] if assignment else None,
        "silenced_until": _time(silence["end"]) if silence else None,
        "notes": [_row(NoteRow, note) for note in response["notes"][-MAX_NOTES:]],
    }


def service_list(answer: Json, service: str | None) -> ServiceList:
    """Of `/api/services`. service: only this one and its calls."""
    found = [row for row in answer["services"] if service in (None, row["service"])]
    found.sort(key=lambda row: (HEALTH_ORDER.index(row["health"]), row["service"]))
    calls = [row for row in answer["edges"] if service in (row["client"], row["server"])]
    rows, omitted = _first(found, partial(_row, ServiceAnswerRow))
    call_rows, omitted_calls = _first(calls, partial(_row, CallRow))
    return {**_envelope(answer), "services": rows, "calls": call_rows, "omitted": omitted + omitted_calls}


def gpu_list(answer: Json, service: str | None) -> GpuList:
    """Of `/api/gpus`. service: only those that it runs on."""
    found = [
        row
        for row in answer["gpus"]
        if service is None or any(share["service"] == service for share in row["services"])
    ]
    found.sort(key=lambda row: -(row["contended_ratio"] or 0.0))
    rows, omitted = _first(found, _gpu_row)
    return {**_envelope(answer), "gpus": rows, "omitted": omitted}


def _gpu_row(row: Json) -> GpuAnswerRow:
    services = [_row(GpuShareRow, share) for share in row["services"][:MAX_NAMES]]
    return _row(GpuAnswerRow, row, services=services, mps=row["mps"] and row["mps"]["text"])


def pair_list(answer: Json, service: str | None) -> PairList:
    """Of `/api/contention`. service: only pairs with it."""
    found = [row for row in answer["pairs"] if service in (None, row["victim"], row["aggressor"])]
    rows, omitted = _first(found, _pair_row)
    return {**_envelope(answer), "pairs": rows, "omitted": omitted}


def _pair_row(row: Json) -> PairAnswerRow:
    gpus = [gpu["gpu"] for gpu in row["gpus"][:MAX_NAMES]]
    return _row(PairAnswerRow, row, affected=row["victim"], noisy_neighbor=row["aggressor"], gpus=gpus)


def limit_list(answer: Json, service: str | None) -> LimitList:
    """Of `/api/contention`. service: only its losses."""
    found = [row for row in answer["limits"] or () if service in (None, row["service"])]
    rows, omitted = _first(found, _limit_row)
    return {**_envelope(answer), "known": answer["limits"] is not None, "limits": rows, "omitted": omitted}


def _limit_row(row: Json) -> LimitAnswerRow:
    return _row(LimitAnswerRow, row, resource=row["name"], shared_with=row["shared_with"][:MAX_NAMES])


def range_comparison(answer: Json) -> RangeComparison:
    """Of `/api/compare`."""
    rows, omitted = _first(answer["rows"], partial(_row, ComparedAnswerRow))
    return {
        **_envelope(answer),
        "baseline_range": _row(ComparedRange, answer["baseline"]),
        "range": _row(ComparedRange, answer["range"]),
        "rows": rows,
        "omitted": omitted + answer["omitted"],
    }


def root_causes(answer: Json) -> RootCauses:
    """Of `/api/explain`."""
    candidates, omitted = _first(answer["candidates"], _candidate, MAX_DETAILS)
    weak_candidates, omitted_weak = _first(answer["weak_candidates"], _candidate, MAX_DETAILS)
    return _row(
        RootCauses,
        answer,
        **_envelope(answer),
        candidates=candidates,
        weak_candidates=weak_candidates,
        omitted=omitted + omitted_weak,
    )


def postmortem(answer: Json) -> Postmortem:
    """Of `/api/report`."""
    text = "\n".join(line for line in answer["markdown"].split("\n") if not line.startswith("!["))
    return {**_envelope(answer), "id": answer["id"], "markdown": clean_document(text, MAX_MARKDOWN)}


def cost(answer: Json) -> CostAnswer:
    """Of `/api/cost`."""
    rows, omitted = _first(answer["rows"], partial(_row, HolderRow))
    unused, omitted_unused = _first(answer["unused"], _unused)
    return _row(CostAnswer, answer, **_envelope(answer), rows=rows, unused=unused, omitted=omitted + omitted_unused)


def _unused(row: Json) -> UnusedRow:
    return _row(UnusedRow, row, command=None if row["command"] is None else clean_command(row["command"]))


def capacity(answer: Json) -> CapacityAnswer:
    """Of `/api/forecast`."""
    shortages, omitted = _first(answer["shortages"], partial(_row, ShortageRow))
    slow_burns, omitted_burns = _first(answer["slow_burns"], partial(_row, FillingRow))
    services = [row for row in answer["loads"] or answer["current"] if row["service"] is not None]
    loads, omitted_loads = _first(services, _load_need)
    return _row(
        CapacityAnswer,
        answer,
        **_envelope(answer),
        shortages=shortages,
        slow_burns=slow_burns,
        loads=loads,
        omitted=omitted + omitted_burns + omitted_loads,
    )


def _load_need(row: Json) -> LoadNeedRow:
    need = row["need"]
    added = {case: _row(AddedAnswer, need[case]) for case in ("peak", "more_traffic", "host_lost")}
    return _row(LoadNeedRow, row, need=_row(NeedAnswer, need, **added))
