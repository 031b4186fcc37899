"""Actions, their effects, and reasons in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from string import Formatter
from typing import Any

from foreshock_dashboard.model.action import Action, ActionKind, Effect, EffectCondition, Reason, ReasonKind, Unit
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.clause import Clause, Text, joined, joined_text, minute, text
from foreshock_dashboard.render.units import clock, duration, gpu_list, multiple, percent, plural

MIN_ATTEMPTS = 1.1
"""Attempts per call from which they are named."""
DUE_SECONDS = 30.0
"""Seconds before and after the expected time within which replicas are due."""

# Templates name fields of an `Action` or a `Reason`. `[a|b]` stands for the first alternative without an unknown field.
ACTIONS: Mapping[ActionKind, str] = {
    "add_kv_cache": "give {service} more KV cache (replicas, shorter maximum length)",
    "add_replicas": "add [{amount:replicas}|replicas] of {service}[ to pool {target}][ (it has {current:.0f})]"
    "[, from now on before {at:minute}]",
    "balance_load": "spread the load of {service} by requests in flight",
    "cancel_abandoned": "cancel at {service} what its clients gave up",
    "cap_gpu_share": "cap it at {amount:percent} of their time",
    "cap_retries": "cap [the retries of {service} to {callee} (a budget of {amount:percent})|its retries]",
    "dedicate_pool": "give tier {target} a pool of its own",
    "dedicate_replicas": "give [{requests} from {service} to {callee}|what {service} asks of {callee}]"
    " replicas of its own",
    "degrade": "let {callers} answer without it (time-out, breaker, cached answer)",
    "drain_gpus": "drain {all_gpus} and let {service} run elsewhere",
    "drain_host": "take host {target} out of rotation and look at its link",
    "drain_queue": "shed until the queue is empty",
    "drain_replica": "drain replica {target}",
    "inspect_links": "look at the links between {service} and {callee}"
    "[, first at host {target}: take it out of rotation]",
    "inspect_replicas": "see why replicas of {service} are not ready",
    "limit_callers": "limit [what {callers} asks of it|who asks it]",
    "limit_calls": "[cap it at {amount:.1f} calls a second|hold it back]",
    "limit_length": "limit the {requests} length of {service}",
    "limit_rate": "limit [{service} to its usual {amount:.3g} requests a second (now {current:.3g})"
    "|the rate of {service}]",
    "move_off_gpus": "move {service} off {gpus}",
    "raise_quota": "raise the quota of pool {target} for {amount:further replicas}",
    "raise_replica_limit": "raise the autoscaler's bound of {service}, which is {current:.0f} replicas",
    "restart": "restart it",
    "restore_timeout": "put the time-out of {service} for calls to {callee} back",
    "roll_back": "undo the last change of {service}",
    "set_retry_budget": "give {service} a retry budget ({amount:percent})",
    "shed_load": "shed load of {service} until [{amount:further replicas} can serve ({delay_seconds:due}), and keep as"
    " many to spare|then]",
}
"""The action alone. An alternative speaks of the same service as `it`."""
SUSPICIONS: Mapping[ReasonKind, str] = {
    "calls_grew": "it asks {service} {value:multiple} times as much as usual",
    "cause": "{name}[ of {service}]",
    "failures_grew": "{value:percent} more of its requests fail than usual",
    "metric": "{name} {value:.3g}, usually {baseline:.3g}, since {since:clock}",
    "nothing_unusual": "it shows nothing out of the ordinary itself",
    "requests_grew": "its requests grew to {value:multiple} times the usual",
    "slower": "it takes {value:multiple} times as long as usual",
}
"""Why a service is suspected."""
REASONS: Mapping[ReasonKind, str] = {
    "abandoned_calls": ": it gives up calls that are served as fast as ever{value:attempts}",
    "gpu_share": ": {service} usually has {baseline:percent} of it, now {value:percent}",
    "idle_gpus": ": requests wait while {gpus} are {value:percent} idle",
    "lost_capacity": "; {value:percent} of its capacity is gone",
    "recurring_load": ": at this time {value:.1f} times as much is asked as in the two hours before, as earlier weeks"
    " or days show",
    "short_outage": ": {value:.0f} s without capacity would keep it down",
    "unexplained": ": nothing around it explains its trouble",
}
"""Why an action is recommended, after it."""
COLON_REASONS = ("gpu_share", "recurring_load", "unexplained")
"""Reasons with a colon, after which a semicolon introduces the effect."""
CONDITIONS: Mapping[EffectCondition, str] = {
    "all_replicas": "with all of them",
    "as_before": "as before",
    "as_fast_as_others": "as fast as on the others",
    "as_fast_as_server": "as fast as the server answers",
    "balanced": "spread evenly",
    "callee_as_usual": "with {service} as usual",
    "gpu_share_restored": "with that again",
    "gpus_restored": "with as many GPUs as before",
    "healthy_gpus": "on GPUs that are well",
    "more_replicas": "with them",
    "network_as_usual": "with the network as usual",
    "one_more_replica": "with one more",
    "usual_clock": "at their usual clock",
    "usual_length": "with requests as long as usual",
    "without_growth": "without the growth",
    "without_losses": "without its losses",
    "without_retries": "without retries",
}


def action_text(action: Action | None) -> str:
    """`drain replica llm-2: as fast as on the others, mean duration of llm would be …`; "" for none."""
    return joined_text(action_clauses(action))


def action_clauses(action: Action | None) -> Text:
    """An action with its alternatives, its reason, and its effect; empty for none."""
    if action is None:
        return ()
    alternatives = [text(", or ", _imperative(alternative)) for alternative in action.alternatives]
    return text(_imperative(action), *alternatives, _because(action), _outcome(action))


def reasons_text(reasons: Iterable[Reason]) -> str:
    """Why a service is suspected: `its requests grew to 2.3 times the usual`."""
    return "; ".join(map(_suspicion, reasons))


def _imperative(action: Action) -> Text:
    return _filled(ACTIONS[action.kind], _fields(action))


def _because(action: Action) -> Text:
    reason = action.reason
    if reason is None:
        return ()
    if reason.kind in REASONS:
        return _filled(REASONS[reason.kind], _fields(action) | reason._asdict())
    return text(": ", _suspicion(reason))


def _suspicion(reason: Reason) -> str:
    template = SUSPICIONS.get(reason.kind, SUSPICIONS["nothing_unusual"])
    return joined_text(_filled(template, reason._asdict()))


def _outcome(action: Action) -> Text:
    """What the action would change, after it."""
    effect = action.effect
    if effect is None:
        return ()
    if effect.condition == "retry_budget":
        return text(f", with the budget {'not even ' if effect.at_least else ''}{effect.projected:.0f} s")
    change = f" would be {_change(effect)}"
    condition = _filled(CONDITIONS[effect.condition], _fields(action))
    if action.kind in ("limit_rate", "cap_retries"):
        own = all(alternative.service == effect.subject for alternative in action.alternatives)
        return text(": ", condition, " its load" if own else text(" the ", _figure(effect)), change)
    has_colon = action.kind == "inspect_links" or (action.reason is not None and action.reason.kind in COLON_REASONS)
    mark = "; " if has_colon else ": "
    at_that_time = " at that time" if _known(action.at) else ""
    return text(mark, condition, ", ", _figure(effect), at_that_time, change)


def _figure(effect: Effect) -> Text:
    """`p95 of llm`, `p95 of calls from front to llm`, `requests on llm-1:8000`."""
    if isinstance(effect.subject, Service):
        return text(f"{effect.signal} of ", effect.subject)
    if isinstance(effect.subject, str):
        return text(f"{effect.signal} on {effect.subject}")
    client, server = effect.subject
    return text(f"{effect.signal} of calls from ", client, " to ", server)


def _change(effect: Effect) -> str:
    """`about 8.00 s instead of 14.0 s`, or `45 % of what it is`."""
    if not _known(effect.now):
        return f"{percent(effect.projected)} of what it is"
    return f"about {_value(effect.projected, effect.unit)} instead of {_value(effect.now, effect.unit)}"


def _value(value: float, unit: Unit) -> str:
    return duration(value) if unit == "s" else percent(value) if unit == "ratio" else f"{value:.0f}"


def _filled(template: str, fields: Mapping[str, Any]) -> Text:
    """A template as clauses, with its fields filled in."""
    chosen = re.sub(r"\[(.*?)\]", lambda group: _first_known(group[1].split("|"), fields), template)
    parts: list[str | Service | Clause | Text] = []
    for words, name, spec, _ in Formatter().parse(chosen):
        parts += [words, _formatted(fields[name], spec or "") if name else ""]
    return text(*parts)


def _first_known(alternatives: Sequence[str], fields: Mapping[str, Any]) -> str:
    """The first template without an unknown field; "" if there is none."""
    for template in alternatives:
        if all(name is None or _known(fields[name]) for _, name, _, _ in Formatter().parse(template)):
            return template
    return ""


def _formatted(value: Service | Clause | Text | str | float | None, spec: str) -> str | Service | Clause | Text:
    if isinstance(value, int | float):
        return FORMATS[spec](value) if spec in FORMATS else format(value, spec)
    return value or ""


def _attempts(attempts: float) -> str:
    return f", and makes each {attempts:.1f} times" if attempts >= MIN_ATTEMPTS else ""


def _due(seconds: float) -> str:
    """When something is ready, in words. seconds: until then; negative if overdue."""
    if abs(seconds) <= DUE_SECONDS:
        return "due now"
    return f"in about {seconds / 60:.0f} min" if seconds > 0 else f"{-seconds / 60:.0f} min overdue"


FORMATS: Mapping[str, Callable[[float], str | Clause]] = {
    "attempts": _attempts,
    "clock": clock,
    "due": _due,
    "further replicas": lambda count: f"{count:.0f} further {plural(max(1, count), 'replica')}",
    "minute": minute,
    "multiple": multiple,
    "percent": percent,
    "replicas": lambda count: f"{count:.0f} {plural(max(1, count), 'replica')}",
}
"""Formats of numbers in templates, besides those of Python."""


def _fields(action: Action) -> dict[str, Any]:
    """Fields of an action as parts of a text, and `all_gpus`, each GPU by name."""
    labels = tuple(gpu.label for gpu in action.gpus)
    return action._asdict() | {
        "callers": joined(action.callers),
        "gpus": Clause(gpu_list(action.gpus), "gpus", gpus=labels) if labels else (),
        "all_gpus": Clause(", ".join(labels), "gpus", gpus=labels),
    }


def _known(value: object) -> bool:
    """Whether a field is set, and no NaN."""
    return value not in (None, "", ()) and value == value
