"""The cost of GPU time as sentences: what is idle, what could be saved, and by which action."""

from __future__ import annotations

import math

from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.cost.ledger import CostLedger, Holding
from foreshock_dashboard.model.cost.report import CostReport, Saving, SavingKind
from foreshock_dashboard.model.service import split_cluster
from foreshock_dashboard.render.clause import Text, place, text
from foreshock_dashboard.render.command import action_command
from foreshock_dashboard.render.units import elapsed, percent, plural, significant


def money(amount: float, currency: str) -> str:
    """`USD 1,250`, `USD 3.40`; cents only below 100."""
    return f"{currency} {amount:,.0f}" if amount >= 100 else f"{currency} {amount:.2f}"


def gpu_count(gpus: float) -> str:
    """GPUs at a time: `2 GPUs`, `0.43 GPUs`, `1 GPU`."""
    shown = significant(round(gpus, 2))
    return f"{shown} {plural(float(shown.replace(',', '')), 'GPU')}"


def gpu_hours(hours: float) -> str:
    """`384 GPU-hours`, `0.5 GPU-hours`."""
    return f"{significant(hours)} GPU-hours"


def no_cost(report: CostReport, ledger: CostLedger) -> str:
    """Why there are no accounts, and the remedy; "" if there are."""
    if report.rows:
        return ""
    if ledger.error:
        return f"No cost: {ledger.error}"
    if math.isnan(ledger.computed_at) or report.unread:
        return "No cost yet: GPU time is being read."
    return "No GPUs in this time range. Scrape foreshock-exporter on GPU hosts."


def headline(report: CostReport) -> Text:
    """`Up to USD 412 per day can be saved (37% of GPU cost).`, in GPU-hours without prices."""
    of = [saving for saving in report.savings if saving.kind is not SavingKind.SEPARATE]
    hours = sum(saving.gpu_hours_per_day for saving in of)
    per_day = 24 / (report.seconds / 3600)
    all_hours = sum(row.allocated for row in report.rows) / 3600 * per_day
    if not hours:
        return text("No idle GPUs to give back.")
    amounts = [saving.money_per_day for saving in of]
    total = sum(row.money for row in report.rows) * per_day
    if total > 0 and not any(map(math.isnan, amounts)):
        saved = sum(amounts)
        return text(
            f"Up to {money(saved, report.currency)} per day can be saved ({percent(saved / total)} of GPU cost)."
        )
    return text(f"Up to {gpu_hours(hours)} per day can be saved ({percent(hours / all_hours)} of all).")


def split_text(report: CostReport) -> str:
    """`384 GPU-hours in 24 h: 35% busy, ≤ 4% waiting, 46% idle, 15% unallocated.`; unknown use where there is some.

    A service that borrows time from its neighbors is busy for longer than its share of the GPU; it counts up to that.
    """
    held = [row for row in report.rows if row.key.holding is Holding.SERVICE]
    total = sum(row.allocated for row in report.rows)

    waiting = math.fsum(row.waiting for row in held if math.isfinite(row.waiting))
    idle = math.fsum(row.idle for row in held if math.isfinite(row.idle))
    used = sum(row.use_known for row in held)
    parts = {
        "busy": max(0.0, used - waiting - idle),
        "waiting": waiting,
        "idle": idle,
        "unallocated": sum(row.allocated for row in report.rows if row.key.holding is Holding.UNALLOCATED),
    }
    parts["unknown"] = total - sum(parts.values())
    shown = [
        f"{'≤ ' if name == 'waiting' else ''}{percent(value / total)} {name}"
        for name, value in parts.items()
        if value / total >= 0.001
    ]
    return f"{gpu_hours(total / 3600)} in {elapsed(report.seconds)}: {', '.join(shown)}."


def saving_text(saving: Saving) -> Text:
    """What is not used: `ml/notebook has 2 idle GPUs: no kernel for 9 h.`."""
    key, since = saving.key, elapsed(saving.seconds)
    if key.service:
        who = text(key.service)
    else:
        who = text("Pool ", place(key.pool)) if split_cluster(key.pool)[1] else text("The fleet")
    count = gpu_count(saving.gpus)
    match saving.kind:
        case SavingKind.RELEASE:
            return text(who, f" has {count.replace(' ', ' idle ')}: no kernel for {since}.")
        case SavingKind.SHRINK:
            return text(who, f" has {count.replace(' ', ' unallocated ')} for {since}.")
        case SavingKind.SHARE:
            return text(who, f" is busy {percent(saving.use)} of its GPU time, and fits on part of a GPU.")
        case SavingKind.SEPARATE:
            return text(who, f" waits for noisy neighbors: up to {gpu_hours(saving.gpu_hours_per_day)} per day.")


def saving_action(saving: Saving) -> Text:
    """What to do, in the imperative."""
    match saving.kind:
        case SavingKind.RELEASE if saving.is_all:
            return text("Scale it to 0 replicas until it is needed.")
        case SavingKind.RELEASE:
            return text("Remove the replicas on these GPUs.")
        case SavingKind.SHRINK:
            return text("Remove nodes from the pool, or move work to it.")
        case SavingKind.SHARE if saving.slices:
            return text(f"Give it a MIG instance with {saving.slices} of 7 slices.")
        case SavingKind.SHARE:
            return text("Let two such replicas share a GPU by time slicing.")
        case SavingKind.SEPARATE:
            return text("Move it or its noisy neighbor to other GPUs.")


def saving_command(saving: Saving) -> str | None:
    """A command for the action; None where there is none, or the object is unknown."""
    if saving.kind is SavingKind.RELEASE and saving.is_all:
        return action_command(Action("pause", saving.key.service))
    return None


def quality_notes(report: CostReport, ledger: CostLedger) -> list[str]:
    """What limits the figures: prices, allocations, energy, unread hours, a failed read."""
    notes = []
    if ledger.error and report.rows:
        notes.append(f"The newest hours may be missing: {ledger.error}")
    if report.unread:
        notes.append("Older hours of this time range are still being read.")
    if not report.currency:
        notes.append("No prices: set --prices to see money.")
    elif unpriced := sorted({row.key.model or "of unknown model" for row in report.rows if math.isnan(row.hourly)}):
        notes.append(f"No price of GPUs: {', '.join(unpriced)}. Add them to the file of --prices.")
    total = sum(row.allocated for row in report.rows)
    inferred = sum(row.inferred for row in report.rows)
    if total and inferred / total >= 0.01:
        notes.append(
            f"{percent(inferred / total)} of GPU time is inferred from processes: no kubelet reports its allocation."
        )
    return notes
