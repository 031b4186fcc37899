"""Answers of the API reduced to those of the tools: bounded rows, times in words, no text that repeats another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from foreshock_dashboard.mcp.answers import (
    ActionRow,
    Answer,
    AtRiskRow,
    CallRow,
    CandidateRow,
    ChangeRow,
    ComparedAnswerRow,
    ComparedRange,
    EvidenceRow,
    GpuAnswerRow,
    GpuList,
    GpuShareRow,
    IncidentExplanation,
    IncidentList,
    IncidentRow,
    PairAnswerRow,
    PairList,
    PeopleRow,
    Postmortem,
    RangeComparison,
    RootCauses,
    ServiceAnswerRow,
    ServiceList,
)
from foreshock_dashboard.mcp.untrusted import NOTICE, clean_command, clean_document
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.render.incident_text import cause_label, evidence_text, risk_text

MAX_ROWS = 50
"""Rows of a list."""
MAX_NAMES = 20
"""Names within a row."""
MAX_DETAILS = 12
"""Signals, actions, candidates, and services at risk of one incident."""
MAX_NOTES = 5
MAX_MARKDOWN = 24_000
"""Characters of a postmortem."""
HEALTH_ORDER = ("critical", "warning", "unknown", "ok", "idle")

RowType = TypeVar("RowType")


def _envelope(answer: Json) -> Answer:
    learning = answer["learning"]
    problem = answer["error"] or ("" if learning["done"] else "the hub is still learning baselines: no incidents yet")
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


def incident_list(answer: Json) -> IncidentList:
    """Of `/api/incidents`."""
    rows, omitted = _first(answer["incidents"], _incident_row)
    return {**_envelope(answer), "incidents": rows, "omitted": omitted}


def _incident_row(row: Json) -> IncidentRow:
    acknowledged = row["response"]["acknowledged"]
    return {
        "id": row["id"],
        "severity": row["severity"],
        "state": row["state"],
        "service": row["service"],
        "affected": row["affected"][:MAX_NAMES],
        "headline": row["headline"],
        "cause": row["cause"],
        "cause_label": cause_label(row),
        "suspect": row["suspect"]["text"],
        "confidence": row["confidence_level"],
        "opened": _time(row["opened"]),
        "resolved": _time(row["resolved"]),
        "acknowledged_by": acknowledged["by"] if acknowledged else None,
        "action": row["actions"][0]["text"] if row["actions"] else None,
    }


def incident_explanation(answer: Json, row: Json) -> IncidentExplanation:
    """Of `/api/incidents` and one of its rows."""
    affected, omitted_names = _first(row["affected"], str, MAX_NAMES)
    at_risk, omitted_risks = _first(row["at_risk"], _at_risk, MAX_DETAILS)
    candidates, omitted_candidates = _first(row["candidates"], _candidate, MAX_DETAILS)
    evidence, omitted_evidence = _first(row["evidence"], _evidence, MAX_DETAILS)
    actions, omitted_actions = _first(row["actions"], _action, MAX_DETAILS)
    return {
        **_envelope(answer),
        "id": row["id"],
        "severity": row["severity"],
        "state": row["state"],
        "cascading": row["cascading"],
        "service": row["service"],
        "headline": row["headline"],
        "summary": row["summary"],
        "cause": row["cause"],
        "cause_label": cause_label(row),
        "confidence": row["confidence_level"],
        "quality": row["quality"],
        "suspect": {
            "text": row["suspect"]["text"],
            "service": row["suspect"]["service"],
            "gpus": row["suspect"]["gpus"][:MAX_NAMES],
            "pool": row["suspect"]["pool"],
            "call": row["suspect"]["edge"],
            "host": row["suspect"]["host"],
            "change": _change(row["suspect"]["change"]),
        },
        "since": _time(row["since"]),
        "opened": _time(row["opened"]),
        "paged": _time(row["paged"]),
        "resolved": _time(row["resolved"]),
        "affected": affected,
        "at_risk": at_risk,
        "candidates": candidates,
        "evidence": evidence,
        "actions": actions,
        "people": _people(row),
        "omitted": omitted_names + omitted_risks + omitted_candidates + omitted_evidence + omitted_actions,
    }


def _change(change: Json | None) -> ChangeRow | None:
    if change is None:
        return None
    return {
        "text": change["text"],
        "at": _time(change["at"]),
        "before": change["before"],
        "after": change["after"],
        "stage": change["stage"],
    }


def _at_risk(risk: Json) -> AtRiskRow:
    seconds = risk["breach_seconds"]
    return {
        "service": risk["service"],
        "text": risk_text(risk),
        "breach_seconds_p10": seconds["p10"],
        "breach_seconds_p50": seconds["p50"],
        "breach_seconds_p90": seconds["p90"],
    }


def _candidate(row: Json) -> CandidateRow:
    return {"service": row["service"], "score": row["score"], "why": row["why"]}


def _evidence(row: Json) -> EvidenceRow:
    return {
        "text": evidence_text(row),
        "signal": row["signal"],
        "entity": row["entity"],
        "value": row["value"],
        "baseline": row["baseline"],
        "unit": row["unit"],
        "since": _time(row["since"]),
    }


def _action(row: Json) -> ActionRow:
    return {
        "text": row["text"],
        "why": row["why"],
        "expected": row["expected"],
        "effective_seconds": row["effective_seconds"],
        "enough": row["enough"],
        "too_late": row["too_late"],
        "command": clean_command(row["command"]),
        "revert_command": clean_command(row["revert_command"]),
    }


def _people(row: Json) -> PeopleRow:
    response, acknowledged = row["response"], row["response"]["acknowledged"]
    assignment, silence = response["assignment"], response["silence"]
    return {
        "owner": row["ownership"]["owner"],
        "acknowledged_by": acknowledged["by"] if acknowledged else None,
        "acknowledged_at": _time(acknowledged["at"]) if acknowledged else None,
        "assignee": assignment["assignee"] if assignment else None,
        "silenced_until": _time(silence["end"]) if silence else None,
        "notes": [
            {"by": note["by"], "at": _time(note["at"]), "text": note["text"]} for note in response["notes"][-MAX_NOTES:]
        ],
    }


def service_list(answer: Json, service: str | None) -> ServiceList:
    """Of `/api/services`. service: only this one and its calls."""
    found = [row for row in answer["services"] if service in (None, row["service"])]
    found.sort(key=lambda row: (HEALTH_ORDER.index(row["health"]), row["service"]))
    calls = [row for row in answer["edges"] if service in (row["client"], row["server"])]
    rows, omitted = _first(found, _service_row)
    call_rows, omitted_calls = _first(calls, _call_row)
    return {**_envelope(answer), "services": rows, "calls": call_rows, "omitted": omitted + omitted_calls}


def _service_row(row: Json) -> ServiceAnswerRow:
    return {
        "service": row["service"],
        "health": row["health"],
        "condition": row["condition"],
        "requests_per_second": row["requests_per_second"],
        "error_rate": row["error_rate"],
        "p50_seconds": row["p50_seconds"],
        "p95_seconds": row["p95_seconds"],
        "p99_seconds": row["p99_seconds"],
        "gpus": row["gpus"][:MAX_NAMES],
    }


def _call_row(row: Json) -> CallRow:
    return {
        "client": row["client"],
        "server": row["server"],
        "requests_per_second": row["requests_per_second"],
        "error_rate": row["error_rate"],
        "p95_seconds": row["p95_seconds"],
        "server_p95_seconds": row["server_p95_seconds"],
        "attempts_per_call": row["attempts_per_call"],
    }


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
    return {
        "gpu": row["gpu"],
        "model": row["model"],
        "utilization_ratio": row["utilization_ratio"],
        "contended_ratio": row["contended_ratio"],
        "memory_used_bytes": row["memory_used_bytes"],
        "memory_total_bytes": row["memory_total_bytes"],
        "power_watts": row["power_watts"],
        "temperature_celsius": row["temperature_celsius"],
        "services": list(map(_gpu_share, row["services"][:MAX_NAMES])),
    }


def _gpu_share(row: Json) -> GpuShareRow:
    return {
        "service": row["service"],
        "busy_ratio": row["busy_ratio"],
        "gpu_wait_ratio": row["gpu_wait_ratio"],
        "memory_used_bytes": row["memory_used_bytes"],
    }


def pair_list(answer: Json, service: str | None) -> PairList:
    """Of `/api/contention`. service: only pairs with it."""
    found = [row for row in answer["pairs"] if service in (None, row["victim"], row["aggressor"])]
    rows, omitted = _first(found, _pair_row)
    return {**_envelope(answer), "pairs": rows, "omitted": omitted}


def _pair_row(row: Json) -> PairAnswerRow:
    return {
        "affected": row["victim"],
        "noisy_neighbor": row["aggressor"],
        "gpu_wait_ratio": row["gpu_wait_ratio"],
        "gpus": [gpu["gpu"] for gpu in row["gpus"][:MAX_NAMES]],
    }


def range_comparison(answer: Json) -> RangeComparison:
    """Of `/api/compare`."""
    rows, omitted = _first(answer["rows"], _compared_row)
    return {
        **_envelope(answer),
        "baseline_range": _range(answer["baseline"]),
        "range": _range(answer["range"]),
        "rows": rows,
        "omitted": omitted + answer["omitted"],
    }


def _range(row: Json) -> ComparedRange:
    return {"start": _time(row["start"]), "end": _time(row["end"]), "evaluations": row["evaluations"]}


def _compared_row(row: Json) -> ComparedAnswerRow:
    return {
        "kind": row["kind"],
        "entity": row["entity"],
        "signal": row["signal"],
        "unit": row["unit"],
        "baseline": row["baseline"],
        "value": row["value"],
        "ratio": row["ratio"],
    }


def root_causes(answer: Json) -> RootCauses:
    """Of `/api/explain`."""
    candidates, omitted = _first(answer["candidates"], _candidate, MAX_DETAILS)
    weak_candidates, omitted_weak = _first(answer["weak_candidates"], _candidate, MAX_DETAILS)
    return {
        **_envelope(answer),
        "service": answer["service"],
        "at": _time(answer["at"]),
        "confidence": answer["confidence"],
        "candidates": candidates,
        "weak_candidates": weak_candidates,
        "missing": answer["missing"],
        "omitted": omitted + omitted_weak,
    }


def postmortem(answer: Json) -> Postmortem:
    """Of `/api/report`."""
    text = "\n".join(line for line in answer["markdown"].split("\n") if not line.startswith("!["))
    return {**_envelope(answer), "id": answer["id"], "markdown": clean_document(text, MAX_MARKDOWN)}
