"""The cost of GPU time as sentences: what is idle, what could be saved, and by which action."""

from __future__ import annotations

import math

from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.cost.ledger import CostLedger, Holding
from foreshock_dashboard.model.cost.report import CostReport, IdleHolding
from foreshock_dashboard.render.clause import Text, text
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
    """`Up to USD 412 per day can be saved (37% of GPU cost).`, in GPU-hours without prices; else what is idle."""
    lasting = [item for item in report.idle if item.is_lasting]
    hours = math.fsum(item.gpu_hours_per_day for item in lasting)
    if not hours:
        unknown = math.fsum(row.unknown for row in report.rows) / 3600
        if report.idle:
            return text("No GPU is idle for 24 h yet: nothing to give back.")
        return text(f"The use of {gpu_hours(unknown)} is unknown." if unknown >= 0.01 else "No idle GPUs to give back.")
    per_day = 24 / (report.seconds / 3600)
    amounts = [item.money_per_day for item in lasting]
    total = math.fsum(row.money for row in report.rows) * per_day
    if total > 0 and not any(map(math.isnan, amounts)):
        saved = math.fsum(amounts)
        return text(
            f"Up to {money(saved, report.currency)} per day can be saved ({percent(saved / total)} of GPU cost)."
        )
    all_hours = math.fsum(row.allocated for row in report.rows) / 3600 * per_day
    return text(f"Up to {gpu_hours(hours)} per day can be saved ({percent(hours / all_hours)} of all).")


def split_text(report: CostReport) -> str:
    """`384 GPU-hours in 24 h: 35% busy, 4% waiting, 46% idle, 15% unallocated.`; unknown use where there is some."""
    held = [row for row in report.rows if row.key.service]
    total = math.fsum(row.allocated for row in report.rows)
    parts = {
        name: math.fsum(value for row in held if math.isfinite(value := getattr(row, name)))
        for name in ("busy", "waiting", "idle")
    }
    parts["unallocated"] = math.fsum(row.allocated for row in report.rows if row.key.holding is Holding.UNALLOCATED)
    parts["unknown"] = total - math.fsum(parts.values())
    shown = [f"{percent(value / total)} {name}" for name, value in parts.items() if value / total >= 0.001]
    return f"{gpu_hours(total / 3600)} in {elapsed(report.seconds)}: {', '.join(shown)}."


def saving_text(item: IdleHolding) -> Text:
    """What is not used: `ml/notebook has 2 idle GPUs: no kernel for 9 h.`."""
    who = text(item.key.service) if item.key.service else text("The fleet")
    count = gpu_count(item.gpus)
    return text(who, f" has {count.replace(' ', ' idle ')}: no kernel for {elapsed(item.seconds)}.")


def saving_action(item: IdleHolding) -> Text:
    """What to do: a command only where it is certain that nothing uses the service."""
    if item.can_pause:
        return text("Scale it to 0 replicas until it is needed.")
    if item.is_lasting:
        return text("Ask the owner whether these GPUs are still needed.")
    return text("Watch: nothing to give back before 24 h.")


def saving_command(item: IdleHolding) -> str | None:
    """A command for the action; None unless nothing uses the service and it can be scaled."""
    return action_command(Action("pause", item.key.service)) if item.can_pause else None


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
