"""The cost of GPU time as sentences: how it is used, which GPUs are unused, and what to do."""

from __future__ import annotations

import math
from collections.abc import Sequence

from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.cost.ledger import HOUR_SECONDS, CostLedger, Holding
from foreshock_dashboard.model.cost.prices import Price, Prices
from foreshock_dashboard.model.cost.report import CostReport, IdleHolding
from foreshock_dashboard.model.service import split_cluster
from foreshock_dashboard.render.clause import Text, text
from foreshock_dashboard.render.command import action_command
from foreshock_dashboard.render.units import elapsed, percent, significant
from foreshock_dashboard.render.words.cost import UNUSED_TEXT


def money(amount: float, currency: str) -> str:
    """`USD 1,250`, `USD 3.40`; cents only below 100."""
    return f"{currency} {amount:,.0f}" if amount >= 100 else f"{currency} {amount:.2f}"


def figure(value: float) -> str:
    """A number of GPUs or GPU-hours, with two significant digits below 10: `<0.01`, `0.29`, `14.6`, `1,250`."""
    if 0 < value < 0.01:
        return "<0.01"
    return f"{value:.2g}" if value < 10 else significant(value)


def gpu_count(gpus: float) -> str:
    """GPUs at a time: `2 GPUs`, `0.43 GPUs`, `1 GPU`."""
    shown = figure(gpus)
    return f"{shown} GPU{'' if shown == '1' else 's'}"


def gpu_hours(hours: float) -> str:
    """`384 GPU-hours`, `0.5 GPU-hours`, `1 GPU-hour`."""
    shown = figure(hours)
    return f"{shown} GPU-hour{'' if shown == '1' else 's'}"


def range_text(seconds: float) -> str:
    """A length of time as time ranges are named: `40 min`, `24 h`, `7 d`."""
    return f"{seconds / 3600:.0f} h" if 86_400 <= seconds < 172_800 else elapsed(seconds)


def no_cost(report: CostReport, ledger: CostLedger) -> str:
    """Why there is no GPU time to show, and the remedy; "" if there is."""
    if report.rows:
        return ""
    if ledger.error:
        return f"No cost data: {ledger.error}"
    if math.isnan(ledger.computed_at) or report.unread:
        return "No cost data yet: GPU time is still being read."
    return "No GPUs in this time range. Scrape foreshock-exporter on GPU hosts."


def is_use_unknown(report: CostReport) -> bool:
    """Whether the use of most GPU time is unknown."""
    return sum(row.unknown for row in report.rows) > 0.5 * sum(row.allocated for row in report.rows)


def headline(report: CostReport) -> Text:
    """`Releasing 2 unused GPUs would save USD 142 per day (37% of GPU cost).`; what is known so far before a day."""
    lasting = [item for item in report.idle if item.is_lasting]
    if not lasting:
        if report.idle:
            idle = _idle_share(report)
            return text(f"{idle}; " if idle else "", f"{gpu_count(_gpus(report.idle))} {UNUSED_TEXT}.")
        if is_use_unknown(report):
            return text(f"Use is unknown for {gpu_hours(sum(row.unknown for row in report.rows) / 3600)}.")
        return text("No service holds an unused GPU.")
    days = report.seconds / 86_400
    saved, total = sum(item.money_per_day for item in lasting), sum(row.money for row in report.rows) / days
    amount, of = money(saved, report.currency), "GPU cost"
    if math.isnan(saved):
        saved = sum(item.gpu_hours_per_day for item in lasting)
        total = sum(row.allocated for row in report.rows) / 3600 / days
        amount, of = gpu_hours(saved), "all"
    share = f" ({percent(saved / total)} of {of})" if total >= saved else ""
    return text(f"Releasing {_unused(lasting)} would save {amount} per day{share}.")


def split_text(report: CostReport) -> str:
    """`384 GPU-hours in 24 h: 35% busy, 4% lost to neighbors, 61% idle.`; unallocated and unknown use too."""
    total = sum(row.allocated for row in report.rows)
    parts = {
        "busy": math.fsum(row.busy for row in report.rows if math.isfinite(row.busy)),
        "lost to neighbors": math.fsum(row.waiting for row in report.rows if math.isfinite(row.waiting)),
        "idle": math.fsum(row.idle for row in report.rows if math.isfinite(row.idle)),
        "unallocated": sum(row.allocated for row in report.rows if row.key.holding is Holding.UNALLOCATED),
        "unknown": sum(row.unknown for row in report.rows),
    }
    shown = [f"{percent(value / total)} {name}" for name, value in parts.items() if value / total >= 0.001]
    return f"{gpu_hours(total / 3600)} in {range_text(report.seconds)}: {', '.join(shown)}."


def idle_text(report: CostReport) -> str:
    """Which of the idle GPUs of services are unused, and why the rest cannot be given back; "" without any."""
    idle = _idle_share(report)
    if not idle:
        return ""
    if not report.idle:
        return f"{idle}, all of it between kernels: no GPU was {UNUSED_TEXT}."
    if not any(item.is_lasting for item in report.idle):  # the headline has the share
        return "The rest is idle time between kernels on GPUs that were in use."
    return f"{idle}: {figure(_gpus(report.idle))} unused, the rest idle between kernels."


def _idle_share(report: CostReport) -> str:
    """`43% of GPU time idle (13.8 of 32 GPUs)`, of what services hold; "" without any."""
    held = sum(row.allocated for row in report.rows if row.key.holding is Holding.SERVICE)
    idle = math.fsum(row.idle for row in report.rows if math.isfinite(row.idle))
    if not held or idle < 0.01 * held:
        return ""
    gpus = f"{figure(idle / report.seconds)} of {gpu_count(held / report.seconds)}"
    return f"{percent(idle / held)} of GPU time idle ({gpus})"


def _gpus(holdings: Sequence[IdleHolding]) -> float:
    return sum(item.gpus for item in holdings)


def _unused(holdings: Sequence[IdleHolding]) -> str:
    """`2 unused GPUs`."""
    return gpu_count(_gpus(holdings)).replace(" ", " unused ")


def unused_text(item: IdleHolding) -> Text:
    """`ml/notebook holds 2 unused GPUs: no kernel has run for 9 h.`."""
    who = item.key.service or "A service"
    return text(who, f" holds {_unused([item])}: no kernel has run for {elapsed(item.seconds)}.")


def unused_action(item: IdleHolding, owner: str = "") -> str:
    """What to do, in the imperative. owner: of the service, "" if unknown."""
    return (
        "Scale it to 0 replicas until it is needed."
        if item.can_pause
        else f"Ask {owner or 'the owner'} whether it is needed."
    )


def unused_command(item: IdleHolding) -> str | None:
    """The command that scales the service to 0; None where it may not be safe."""
    return action_command(Action("pause", item.key.service)) if item.can_pause and item.key.service else None


def quality_notes(report: CostReport, ledger: CostLedger, prices: Prices, seconds: float) -> list[str]:
    """What limits the figures: a failed read, unread or missing hours, prices, allocations.

    seconds: length of the requested time range.
    """
    notes = []
    if ledger.error and report.rows:
        notes.append(f"The newest hours may be missing: {ledger.error}")
    if report.unread:
        notes.append("Older hours of this time range are still being read.")
    elif seconds - report.seconds > HOUR_SECONDS:
        notes.append(f"Data covers {range_text(report.seconds)} of {range_text(seconds)} (whole 10 min steps only).")
    if not report.currency:
        notes.append("To show costs, set --prices to a file with GPU-hour prices.")
    unpriced = [row.key for row in report.rows if math.isnan(row.hourly)] if report.currency else []
    for is_spot, kind in ((False, "price"), (True, "spot price")):
        models = sorted({key.model or "of unknown model" for key in unpriced if _is_spot(prices, key.pool) == is_spot})
        if models:
            notes.append(f"No {kind} for GPUs: {', '.join(models)}. Add one to the --prices file.")
    total = sum(row.allocated for row in report.rows)
    inferred = sum(row.inferred for row in report.rows)
    if total and inferred / total >= 0.01:
        of = "" if inferred >= 0.995 * total else f" of {percent(inferred / total)} of GPU time"
        notes.append(f"GPU ownership{of} is inferred from running processes (no kubelet data).")
    sampled = sum(row.sampled for row in report.rows)
    if total and sampled / total >= 0.01:
        notes.append(
            f"{percent(sampled / total)} of GPU time comes from gauges, not counters. "
            "These GPUs are never listed as unused."
        )
    return notes


def _is_spot(prices: Prices, pool: str) -> bool:
    return prices.pools.get(pool, prices.pools.get(split_cluster(pool)[1], Price())).spot
