"""Actions, their effects, and reasons in words."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from foreshock_dashboard.model.action import ARRIVING_LOAD, Action, ActionKind, Effect, LimitKind, Reason, ReasonKind
from foreshock_dashboard.model.service import Service, split_cluster
from foreshock_dashboard.render.clause import (
    Clause,
    Text,
    filled,
    in_sentence,
    in_words,
    joined,
    joined_text,
    minute,
    place,
    text,
)
from foreshock_dashboard.render.metric_figure import metric_figure, metric_unit, split_share
from foreshock_dashboard.render.units import (
    capitalized,
    clock,
    duration,
    gpu_list,
    load_percent,
    multiple,
    percent,
    plural,
    rate,
)
from foreshock_dashboard.render.words.actions import ACTIONS, LIMITS, REASONS, SUSPICIONS
from foreshock_dashboard.render.words.incidents import CAUSES
from foreshock_dashboard.render.words.signals import WORLD_METRICS

MIN_ATTEMPTS = 1.1
"""Attempts per call from which they are named."""
MAX_GPUS = 2
"""GPUs that an action names; of more, their number."""
DUE_SECONDS = 30.0
"""Seconds before and after the expected time within which replicas are due."""


def action_text(action: Action | None) -> str:
    """An action in sentences: what to do, why, and what that would change; "" for none."""
    if action is None:
        return ""
    expected = action_expected(action)
    sentences = (
        joined_text(action_clauses(action)),
        action_reason(action),
        f"Expected: {expected}" if action.effect else capitalized(expected),
        action_outcome(action),
    )
    return " ".join(f"{sentence}." for sentence in sentences if sentence)


def action_clauses(action: Action) -> Text:
    """What to do: `Rate-limit product/assistant to 5 req/s (now 8 req/s)`."""
    return _filled(ACTIONS[action.kind], _fields(action))


def action_reason(action: Action) -> str:
    """Why an action is recommended; "" where the incident says it."""
    reason = action.reason
    if reason is None:
        return ""
    return joined_text(_filled(REASONS[reason.kind], _fields(action) | _reason_fields(reason)), _cluster(action))


def action_expected(action: Action) -> str:
    """What an action would change, when, and what it does not achieve; "" if unknown.

    As in `llm load 82% → 59% (safe limit 76%), takes effect within 1 min`.
    """
    when = action_timing(action)
    takes = f"takes effect {when}" if when.startswith("within") else when
    return ", ".join(filter(None, (action_change(action), takes)))


def action_change(action: Action) -> str:
    """What an action would change: `llm load 82% → 59% (safe limit 76%)`; "" if unknown."""
    return joined_text(_change(action.effect), _cluster(action))


def action_timing(action: Action) -> str:
    """When an action takes effect, and what it needs before: `within 7 min, likely too late`; "" if unknown."""
    when = effect_time(action)
    too_late = "likely too late" if when and action.too_late else ""
    return ", ".join(filter(None, (when, too_late, _missing_quota(action))))


def effect_time(action: Action) -> str:
    """When an action takes effect: `within 7 min`; "" if unknown."""
    seconds = action.effective_seconds
    return f"within {max(1, math.ceil(seconds / 60))} min" if _known(seconds) else ""


def _missing_quota(action: Action) -> str:
    """`needs 5 more GPUs (the quota of GPU pool chat leaves 1: raise it first)`; "" where the quota suffices."""
    if not action.exceeds_quota:
        return ""
    needed = f"needs {action.needed_gpus:.0f} more {plural(action.needed_gpus, 'GPU')}"
    return f"{needed} (the quota of GPU pool {in_words(action.target)} leaves {action.free_gpus:.0f}: raise it first)"


def action_outcome(action: Action) -> str:
    """What an action and those before it achieve together, once the queue, if any, is drained; "" if unknown.

    As in `Do both steps: p95 is back within SLO in about 7 min, once the queue drains (116 s → 12.6 s, SLO 18.0 s).
    Until then …`.
    """
    if action.outcome is None:
        return ""
    outcome = action.outcome._replace(subject="")
    steps = "Do both steps" if action.kind in ("shed_load", "cancel_abandoned") else "After that"
    if not _known(action.drain_seconds):
        return f"{steps}: {joined_text(_change(outcome))}"
    minutes = max(1, round((action.effective_seconds + action.drain_seconds) / 60))
    when = f"in about {minutes} min, once the queue drains"
    change = f"{joined_text(_change(outcome))} {when}"
    if outcome.limit_kind == "slo" and outcome.is_enough:
        now, projected, slo = (_value(outcome, value) for value in (outcome.now, outcome.projected, outcome.limit))
        change = f"{outcome.signal} is back within SLO {when} ({now} → {projected}, SLO {slo})"
    errors = ""
    if action.kind == "shed_load" and action.amount > 0:
        whose = f" to {in_words(str(action.service))}" if action.service else ""
        errors = f". Until then {percent(action.amount)} of requests{whose} are rejected; callers then recover"
    return f"{steps}: {change}{errors}"


def reasons_text(reasons: Iterable[Reason]) -> str:
    """Why a service is suspected: `p95_seconds 120 ms → 2.4 s since 10:42:00`; a cause class only without a figure."""
    listed = tuple(reasons)
    with_figures = tuple(reason for reason in listed if reason.kind not in ("cause", "no_anomaly"))
    return "; ".join(dict.fromkeys(map(_suspicion, with_figures or listed)))


def reason_unit(reason: Reason) -> str:
    """Unit of the figures of a reason: `s`, `ratio`, `bytes`, …; "" for a count, or if unknown."""
    if reason.kind == "short_outage":
        return "s"
    if reason.kind == "metric" or (reason.kind == "slower" and math.isfinite(reason.baseline)):
        return metric_unit(reason.name)
    return "ratio" if math.isfinite(reason.value) else ""


def _suspicion(reason: Reason) -> str:
    fields = _reason_fields(reason)
    fields["name"], of = split_share(WORLD_METRICS.get(reason.name, reason.name))
    if of and fields["after"]:
        fields["after"] += f" of {of}"
    if reason.kind == "cause":
        fields["name"] = next(
            (in_sentence(label) for cause, label in CAUSES.items() if cause == reason.name), reason.name
        )
    return joined_text(_filled(SUSPICIONS[reason.kind], fields))


def _cluster(action: Action) -> str:
    """The cluster that the action itself says; "" without one."""
    return action.service.cluster if action.service else split_cluster(action.target)[0]


def _change(effect: Effect | None) -> Text:
    """`llm p95 14.0 s → 8.00 s (SLO 12.0 s)`, or `llm load 45% lower`; empty if unknown."""
    if effect is None:
        return ()
    name = _figure(effect)
    if not _known(effect.now):
        return text(name, f" {percent(1 - effect.projected)} lower")
    now, projected = _value(effect, effect.now), _value(effect, effect.projected)
    bracket = f" ({_limit(effect, effect.limit_kind)})" if effect.limit_kind else ""
    if _is_load(effect) and effect.projected > 1:  # by how much a load exceeds capacity is not shown
        return text(name, f" {percent(1 - effect.projected / effect.now)} lower{bracket}")
    if _is_load(effect) and effect.now > 1:
        projected += " once the queue drains"
    least = "at least " if effect.at_least else ""
    return text(name, f" {now} → {least}{projected}{bracket}")


def _is_load(effect: Effect) -> bool:
    return effect.signal in ("load", ARRIVING_LOAD)


def _limit(effect: Effect, kind: LimitKind) -> str:
    """`safe limit 76%`, or `still above the safe limit 76%`, `still short of the 60 s needed`."""
    limit = _value(effect, effect.limit)
    if kind == "needed":
        limit = limit.replace(".0 ", " ")
        return f"{limit} needed" if effect.is_enough else f"still short of the {limit} needed"
    return f"{'still above the ' if effect.is_enough is False else ''}{LIMITS[kind]} {limit}"


def _figure(effect: Effect) -> Text:
    """`llm p95`, `p95 of calls from front to llm`, `requests on llm-1:8000`."""
    if isinstance(effect.subject, Service):
        return text(effect.subject, f" {'load' if _is_load(effect) else effect.signal}")
    if not effect.subject:
        return text(effect.signal)
    if isinstance(effect.subject, str):
        return text(f"{effect.signal} on ", place(effect.subject))
    client, server = effect.subject
    return text(f"{effect.signal} of calls from ", client, " to ", server)


def _value(effect: Effect, value: float) -> str:
    if effect.unit == "ratio":
        return load_percent(value) if _is_load(effect) else percent(value)
    return duration(value) if effect.unit == "s" else f"{value:.0f}"


def _filled(template: str, fields: Mapping[str, Any]) -> Text:
    """A template as clauses, with its fields filled in."""
    chosen = re.sub(r"\[(.*?)\]", lambda group: _first_known(group[1].split("|"), fields), template)
    return filled(chosen, **{name: value or "" for name, value in fields.items()})


def _first_known(alternatives: Sequence[str], fields: Mapping[str, Any]) -> str:
    """The first template without an unknown field; "" if there is none."""
    for template in alternatives:
        if all(_known(fields[name]) for name in re.findall(r"\{(\w+)\}", template)):
            return template
    return ""


Format = Callable[[float], str]


def _shown(value: float, show: Format) -> str | None:
    """A value as text; None if it is unknown."""
    return show(value) if _known(value) else None


def _whole(value: float) -> str:
    return f"{value:.0f}"


def _points(share: float) -> str:
    return f"{share * 100:.0f} pp"


def _replicas(count: float) -> str:
    return f"{count:.0f} {plural(max(1, count), 'replica')}"


def _attempts(attempts: float) -> str:
    return f", {attempts:.1f} attempts per call" if attempts >= MIN_ATTEMPTS else ""


def _due(seconds: float) -> str:
    """When something is ready, in words. seconds: until then; negative if overdue."""
    if abs(seconds) <= DUE_SECONDS:
        return "due now"
    return f"due in {seconds / 60:.0f} min" if seconds > 0 else f"{-seconds / 60:.0f} min overdue"


AMOUNT_FORMATS: Mapping[ActionKind, Format] = {
    "cap_gpu_share": percent,
    "cap_retries": percent,
    "limit_calls": rate,
    "limit_rate": rate,
    "raise_quota": _replicas,
    "set_retry_budget": percent,
    "shed_load": percent,
}
"""Of amounts that are no whole numbers."""
VALUE_FORMATS: Mapping[ReasonKind, Format] = {
    "abandoned_calls": _attempts,
    "called_in": percent,
    "calls_failed": _points,
    "calls_grew": multiple,
    "failures_grew": _points,
    "gpu_share": percent,
    "idle_gpus": percent,
    "lost_capacity": percent,
    "more_tokens": multiple,
    "recurring_load": multiple,
    "requests_grew": multiple,
    "short_outage": duration,
    "slower": multiple,
}
"""Of values that are no whole numbers."""


def _fields(action: Action) -> dict[str, Any]:
    """Fields of an action as parts of a text, its total, and the maximum that this exceeds."""
    labels = tuple(gpu.label for gpu in action.gpus)
    limited = action.rate_limit.per_second if action.kind == "limit_rate" else 0.0
    amount = limited or action.amount  # of the command, which sets a whole number
    # requests are counted when they end: in an overload fewer than arrive
    current = math.nan if limited and action.current <= limited else action.current
    slo = action.outcome.limit if action.outcome and action.outcome.limit_kind == "slo" else math.nan
    return {
        "service": action.service,
        "callee": action.callee,
        "callers": joined(action.callers),
        "candidates": joined(action.candidates, ", "),
        "gpus": Clause(gpu_list(action.gpus, MAX_GPUS), "gpus", gpus=labels) if labels else (),
        "target": action.target if action.kind == "roll_back" or not action.target else place(action.target),
        "requests": action.requests,
        "amount": _shown(amount, AMOUNT_FORMATS.get(action.kind, _whole)),
        "current": _shown(current, rate if action.kind == "limit_rate" else _whole),
        "ready": _shown(action.ready, _whole),
        "total": _shown(action.total, _whole),
        "exceeded": _shown(action.maximum, _whole) if action.exceeds_maximum else None,
        "at": minute(action.at) if _known(action.at) else None,
        "until": _shown(action.until_seconds, _due),
        "queue": "the queue" if _known(action.drain_seconds) else None,
        "slo": _shown(slo, duration),
        "rollback_load": _shown(_rollback_load(action), percent),
    }


def _reason_fields(reason: Reason) -> dict[str, Any]:
    """Fields of a reason as parts of a text."""
    return {
        "service": reason.service,
        "name": reason.name,
        "value": _shown(reason.value, VALUE_FORMATS.get(reason.kind, _whole)),
        "baseline": _shown(reason.baseline, percent),
        "now": _shown(reason.now, percent),
        "since": clock(reason.since) if math.isfinite(reason.since) else None,
        "before": metric_figure(reason.name, reason.baseline) if _known(reason.baseline) else None,
        "after": metric_figure(reason.name, reason.now) if _known(reason.now) else None,
    }


def _rollback_load(action: Action) -> float:
    """The load of what is not shed at which all requests together are within the safe limit; NaN if unknown."""
    effect = action.effect
    if effect is None or effect.limit_kind != "safe_limit" or not action.amount < 1:
        return math.nan
    return effect.limit * (1 - action.amount)


def _known(value: object) -> bool:
    """Whether a field is set, and no NaN."""
    return value not in (None, "", ()) and value == value
