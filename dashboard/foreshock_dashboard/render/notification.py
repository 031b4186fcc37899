"""Notifications of an incident for each channel, and the annotations of its alert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote

from foreshock_dashboard.model.capacity.load import Shortage
from foreshock_dashboard.model.capacity.slow_burn import SlowBurn, SlowBurnKey
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.render.action import action_clauses, action_expected
from foreshock_dashboard.render.capacity_text import (
    BURN_GRAIN_SECONDS,
    act_text,
    moment,
    shortage_text,
    slow_burn_figures,
    slow_burn_name,
    slow_burn_text,
)
from foreshock_dashboard.render.clause import in_words, joined_text, sentences, text
from foreshock_dashboard.render.command import instructions
from foreshock_dashboard.render.incident_summary import details_sentences, headline, later_clauses, suspicion_clauses
from foreshock_dashboard.render.units import clock, elapsed, printable
from foreshock_dashboard.render.words.actions import ACTION_TEXTS
from foreshock_dashboard.render.words.capacity import (
    SLOW_BURN_ACTIONS,
    SLOW_BURN_OVER,
    SLOW_BURN_RUNBOOK,
    SLOW_BURN_RUNBOOKS,
    SLOW_BURN_UNKNOWN,
)

MENTION = "@\u200b"
"""An at sign that no chat service takes for a mention: names from telemetry must not call a whole channel."""
MAX_LISTED = 5
"""Slow burns, and owners, that a message names."""


class MessageText(NamedTuple):
    """A message: its title in one line, and its text in lines."""

    title: str
    text: str


def alert_name(incident: Incident) -> str:
    """The name of the incident's alert, as in the rules of `alerts/`."""
    if incident.severity == "critical":
        return "ForeshockIncident"
    return "ForeshockMetastableRisk" if incident.summary.latent else "ForeshockEarlyWarning"


def incident_url(base: str, incident_id: str) -> str:
    """The page of an incident on the hub at a URL."""
    return f"{base}/cascade?incident={quote(incident_id, safe='')}"


def runbook_url(base: str, incident: Incident) -> str:
    """The runbook of the incident's alert on the hub at a URL."""
    return f"{base}/runbooks/{alert_name(incident)}"


def action_line(incident: Incident) -> str:
    """The first recommended action with its expected effect; "" for none."""
    if not incident.actions:
        return ""
    action = incident.actions[0]
    expected = action_expected(action)
    return f"{joined_text(action_clauses(action))}.{f' Expected: {expected}.' if expected else ''}"


def open_message(incident: Incident, kind: str, base: str, owner: str = "") -> MessageText:
    """The message about an open incident. kind: what the title begins with, such as `critical` or `update`.

    base: URL of the hub. owner: of the service; "" if unknown.
    """
    action = action_line(incident)
    rows = instructions(incident.actions[0]).rows() if incident.actions else []
    shown = [row for row in rows if row.name in ("note", "command")]
    lines = [
        details_sentences(incident),
        f"Action: {action}" if action else "",
        *(f"{ACTION_TEXTS[name]}: {said}{'' if is_command else '.'}" for name, said, is_command in shown),
        f"Owner: {owner}" if owner else "",
    ]
    return _message(f"[{kind}] {headline(incident)}", lines, incident.id, base, runbook_url(base, incident))


def resolved_message(incident: Incident, base: str) -> MessageText:
    """The message about a resolved incident."""
    end = incident.resolved if incident.resolved is not None else incident.opened
    lasted = f"Open for {elapsed(end - incident.opened)}, from {clock(incident.opened)} to {clock(end)} UTC."
    causes = sentences(suspicion_clauses(incident), later_clauses(incident))
    cause = joined_text(causes, incident.service.cluster)
    return _message(f"[resolved] {headline(incident)}", [f"{lasted} {cause}"], incident.id, base)


def gone_message(service: str, incident_id: str, base: str) -> MessageText:
    """The message about an incident that the analysis no longer reports, for example after a gap in the data."""
    return _message(f"[resolved] {in_words(service)}: incident no longer reported", [], incident_id, base)


def shortage_message(shortage: Shortage, now: float, base: str, owner: str = "") -> MessageText:
    """The early warning of a capacity shortage. now: Unix seconds. base: URL of the hub. owner: "" if unknown."""
    service, pool = shortage.subject
    said, action = joined_text(shortage_text(shortage, now)), joined_text(act_text(shortage, now))
    query = "&".join(
        f"{key}={quote(str(value), safe='')}" for key, value in (("service", service or ""), ("pool", pool))
    )
    lines = [
        _safe(said),
        _safe(action),
        _safe(f"Owner: {owner}" if owner else ""),
        f"Capacity: {base}/capacity?{query}",
        f"Runbook: {base}/runbooks/ForeshockCapacityShortage",
    ]
    name = in_words(service) if service else f"pool {in_words(pool)}"
    title = f"[warning] {name}: capacity shortage {joined_text(text(moment(shortage.at, now)))}"
    return MessageText(_safe(title), "\n".join(filter(None, lines)))


def no_shortage_message(name: str, base: str) -> MessageText:
    """The end of such a warning. name: of the service or pool."""
    title = f"[resolved] {in_words(name)}: no capacity shortage forecast"
    return MessageText(_safe(title), f"Capacity: {base}/capacity")


def slow_burns_name(burns: Sequence[SlowBurn]) -> str:
    """The name of a group by its first: `Host memory of host-3 and 9 more`."""
    more = f" and {len(burns) - 1} more" if len(burns) > 1 else ""
    return f"{joined_text(slow_burn_name(burns[0]))}{more}"


def slow_burns_message(
    burns: Sequence[SlowBurn],
    now: float,
    base: str,
    owners: Sequence[str],
    moved: Mapping[SlowBurnKey, float],
    *,
    is_update: bool,
) -> MessageText:
    """The message about a group of slow burns, the earliest first, at least one.

    now: Unix seconds. base: URL of the hub. moved: dates that were said before, Unix seconds. is_update: whether it is
    not the first one.
    """
    first, more = burns[0], len(burns) - MAX_LISTED
    kinds = dict.fromkeys(burn.kind for burn in burns)
    runbooks = dict.fromkeys(SLOW_BURN_RUNBOOKS.get(kind, SLOW_BURN_RUNBOOK) for kind in kinds)
    actions = dict.fromkeys(SLOW_BURN_ACTIONS[kind] for kind in kinds)
    lines = [
        *(_slow_burn_line(burn, now, moved.get(burn.key)) for burn in burns[:MAX_LISTED]),
        f"{more} more on the Capacity page." if more > 0 else "",
        *(f"Action: {action}" for action in actions),
        f"Owner: {', '.join(owners[:MAX_LISTED])}" if owners else "",
        f"Capacity: {base}/capacity",
        *(f"Runbook: {base}/runbooks/{runbook}" for runbook in runbooks),
    ]
    kind = "update" if is_update else "warning"
    said = joined_text(slow_burn_text(first, now, with_interval=False))
    others = f" (and {len(burns) - 1} more)" if len(burns) > 1 else ""
    return MessageText(_safe(f"[{kind}] {said.removesuffix('.')}{others}"), "\n".join(map(_safe, filter(None, lines))))


def _slow_burn_line(burn: SlowBurn, now: float, before: float | None) -> str:
    was = f" Previous forecast: {joined_text(text(moment(before, now, BURN_GRAIN_SECONDS)))}." if before else ""
    figures = slow_burn_figures(burn)
    return f"{joined_text(slow_burn_text(burn, now))}{was}{f' {figures}.' if figures else ''}"


def over_message(name: str, base: str, *, is_known: bool) -> MessageText:
    """The end of such messages. name: of the group. is_known: whether there is data, and not merely no forecast."""
    said = SLOW_BURN_OVER if is_known else SLOW_BURN_UNKNOWN
    return MessageText(_safe(f"[resolved] {name}: {said}"), f"Capacity: {base}/capacity")


def _message(title: str, lines: list[str], incident_id: str, base: str, runbook: str = "") -> MessageText:
    links = [f"Incident: {incident_url(base, incident_id)}", f"Runbook: {runbook}" if runbook else ""]
    shown = [_safe(line) for line in lines if line]
    return MessageText(_safe(title), "\n".join([*shown, *filter(None, links)]))


def _safe(text: str) -> str:
    """Text from the network without control characters and without mentions."""
    return printable(text).replace("@", MENTION)
