"""Actions, their effects, and reasons in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from foreshock_dashboard.model.action import Action, Effect, EffectCondition, Reason, Unit
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.clause import Clause, Text, joined, joined_text, minute, text
from foreshock_dashboard.render.units import clock, duration, gpu_list, multiple, percent

MIN_ATTEMPTS = 1.1
"""Attempts per call from which they are named."""
DUE_SECONDS = 30.0
"""Seconds before and after the expected time within which replicas are due."""
CONDITIONS: Mapping[EffectCondition, str] = {
    "all_replicas": "with all of them",
    "as_before": "as before",
    "as_fast_as_others": "as fast as on the others",
    "as_fast_as_server": "as fast as the server answers",
    "balanced": "spread evenly",
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
    alternatives = [text(", or ", _imperative(each)) for each in action.alternatives]
    return text(_imperative(action), *alternatives, _because(action), _outcome(action))


def reasons_text(reasons: Iterable[Reason]) -> str:
    """Why a service is suspected: `its requests grew to 2.3 times the usual`."""
    return "; ".join(map(reason_text, reasons))


def reason_text(reason: Reason) -> str:
    """One reason why a service is suspected."""
    match reason.kind:
        case "cause":
            return f"{reason.name} of {reason.service}" if reason.service else reason.name
        case "calls_grew":
            return f"it asks {reason.service} {multiple(reason.value)} times as much as usual"
        case "requests_grew":
            return f"its requests grew to {multiple(reason.value)} times the usual"
        case "failures_grew":
            return f"{percent(reason.value)} more of its requests fail than usual"
        case "slower":
            return f"it takes {multiple(reason.value)} times as long as usual"
        case "metric":
            now, baseline = f"{reason.value:.3g}", f"{reason.baseline:.3g}"
            return f"{reason.name} {now}, usually {baseline}, since {clock(reason.since)}"
        case _:
            return "it shows nothing out of the ordinary itself"


def _imperative(action: Action) -> Text:
    """The action alone: `limit the rate of batch`. An alternative speaks of the same service as `it`."""
    service, callee = action.service or "", action.callee or ""
    match action.kind:
        case "move_off_gpus":
            return text("move ", service, " off ", _gpus(action))
        case "cap_gpu_share":
            return text(f"cap it at {percent(action.amount)} of their time")
        case "dedicate_pool":
            return text(f"give tier {action.target} a pool of its own")
        case "dedicate_replicas" if action.requests:
            return text(f"give {action.requests} from ", service, " to ", callee, " replicas of its own")
        case "dedicate_replicas":
            return text("give what ", service, " asks of ", callee, " replicas of its own")
        case "limit_calls":
            return text(f"cap it at {action.amount:.1f} calls a second" if _known(action.amount) else "hold it back")
        case "add_replicas":
            return _add_replicas(action)
        case "limit_rate" if _known(action.amount):
            limit, now = f"{action.amount:.3g}", f"{action.current:.3g}"
            return text("limit ", service, f" to its usual {limit} requests a second (now {now})")
        case "limit_rate":
            return text("limit the rate of ", service)
        case "limit_callers" if action.callers:
            return text("limit what ", joined(action.callers), " asks of it")
        case "limit_callers":
            return text("limit who asks it")
        case "limit_length":
            return text(f"limit the {action.requests} length of ", service)
        case "add_kv_cache":
            return text("give ", service, " more KV cache (replicas, shorter maximum length)")
        case "roll_back":
            return text("undo the last change of ", service)
        case "restart":
            return text("restart it")
        case "degrade":
            return text("let ", joined(action.callers), " answer without it (time-out, breaker, cached answer)")
        case "raise_quota":
            return text(f"raise the quota of pool {action.target} for {_further(action)}")
        case "raise_replica_limit":
            return text("raise the autoscaler's bound of ", service, f", which is {action.current:.0f} replicas")
        case "shed_load" if _known(action.amount):
            until = f" until {_further(action)} can serve ({_due(action.delay_seconds)}), and keep as many to spare"
            return text("shed load of ", service, until)
        case "shed_load":
            return text("shed load of ", service, " until then")
        case "drain_queue":
            return text("shed until the queue is empty")
        case "restore_timeout":
            return text("put the time-out of ", service, " for calls to ", callee, " back")
        case "cap_retries" if _known(action.amount):
            return text("cap the retries of ", service, " to ", callee, f" (a budget of {percent(action.amount)})")
        case "cap_retries":
            return text("cap its retries")
        case "set_retry_budget":
            return text("give ", service, f" a retry budget ({percent(action.amount)})")
        case "cancel_abandoned":
            return text("cancel at ", service, " what its clients gave up")
        case "drain_gpus":
            gpus = ", ".join(gpu.label for gpu in action.gpus)
            return text("drain ", Clause(gpus, "gpus", gpus=_labels(action)), " and let ", service, " run elsewhere")
        case "drain_replica":
            return text(f"drain replica {action.target}")
        case "drain_host":
            return text(f"take host {action.target} out of rotation and look at its link")
        case "balance_load":
            return text("spread the load of ", service, " by requests in flight")
        case "inspect_links":
            host = f", first at host {action.target}: take it out of rotation" if action.target else ""
            return text("look at the links between ", service, " and ", callee, host)
        case "inspect_replicas":
            return text("see why replicas of ", service, " are not ready")


def _add_replicas(action: Action) -> Text:
    known, to_pool = _known(action.amount), f" to pool {action.target}" if action.target else ""
    count = f"{action.amount:.0f} replica{'s' if action.amount > 1 else ''}" if known else "replicas"
    there = f" (it has {action.current:.0f})" if known else ""
    before = (", from now on before ", minute(action.at)) if _known(action.at) else ()
    return text(f"add {count} of ", action.service or "", to_pool + there, *before)


def _because(action: Action) -> Text:
    """Why the action is recommended, after it."""
    reason = action.reason
    if reason is None:
        return ()
    service = reason.service or ""
    match reason.kind:
        case "gpu_share":
            return text(": ", service, f" usually has {percent(reason.baseline)} of it, now {percent(reason.value)}")
        case "idle_gpus":
            return text(": requests wait while ", _gpus(action), f" are {percent(reason.value)} idle")
        case "recurring_load":
            growth = f"{reason.value:.1f} times as much is asked as in the two hours before"
            return text(f": at this time {growth}, as earlier weeks or days show")
        case "unexplained":
            return text(": nothing around it explains its trouble")
        case "abandoned_calls":
            tries = f", and makes each {reason.value:.1f} times" if reason.value >= MIN_ATTEMPTS else ""
            return text(f": it gives up calls that are served as fast as ever{tries}")
        case "lost_capacity":
            return text(f"; {percent(reason.value)} of its capacity is gone")
        case "short_outage":
            return text(f": {reason.value:.0f} s without capacity would keep it down")
        case _:
            return text(f": {reason_text(reason)}")


def _outcome(action: Action) -> Text:
    """What the action would change, after it."""
    effect = action.effect
    if effect is None:
        return ()
    if effect.condition == "retry_budget":
        return text(f", with the budget {'not even ' if effect.at_least else ''}{effect.projected:.0f} s")
    change = f" would be {_change(effect)}"
    if action.kind in ("limit_rate", "cap_retries"):
        its = all(each.service == effect.subject for each in action.alternatives)
        load = text("its load") if its else text("the ", _figure(effect))
        return text(f": {CONDITIONS[effect.condition]} ", load, change)
    as_usual = text("with ", action.service or "", " as usual")
    condition = as_usual if effect.condition == "callee_as_usual" else CONDITIONS[effect.condition]
    mark = "; " if _has_colon(action) else ": "
    at_that_time = " at that time" if _known(action.at) else ""
    return text(mark, condition, ", ", _figure(effect), at_that_time, change)


def _has_colon(action: Action) -> bool:
    """Whether the text before the effect has a colon, so that a semicolon introduces it."""
    kinds = ("gpu_share", "recurring_load", "unexplained")
    return action.kind == "inspect_links" or (action.reason is not None and action.reason.kind in kinds)


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


def _further(action: Action) -> str:
    return f"{action.amount:.0f} further replica{'s' if action.amount > 1 else ''}"


def _due(seconds: float) -> str:
    """When something is ready, in words. seconds: until then; negative if overdue."""
    if abs(seconds) <= DUE_SECONDS:
        return "due now"
    return f"in about {seconds / 60:.0f} min" if seconds > 0 else f"{-seconds / 60:.0f} min overdue"


def _gpus(action: Action) -> Clause:
    return Clause(gpu_list(action.gpus), "gpus", gpus=_labels(action))


def _labels(action: Action) -> tuple[str, ...]:
    return tuple(gpu.label for gpu in action.gpus)


def _known(value: float) -> bool:
    return math.isfinite(value)
