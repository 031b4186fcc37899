"""Messages about slow burns: a group of them once, again when a date moves decisively or more join, and its end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import NamedTuple

from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.capacity.slow_burn import SlowBurn, SlowBurnKey, SlowBurnKind
from foreshock_dashboard.model.service import Service, qualified, split_cluster
from foreshock_dashboard.model.world_sections import DAY_SECONDS
from foreshock_dashboard.notify.channels import Channel
from foreshock_dashboard.notify.message import MessageBody
from foreshock_dashboard.notify.shortages import Reader
from foreshock_dashboard.render.notification import MessageText, over_message, slow_burns_message, slow_burns_name
from foreshock_dashboard.settings.working_hours import WorkingHours
from foreshock_dashboard.store.outbox import Outbox, OutboxMessage

PREFIX = "slow burn "
"""Begins the subjects of these messages in the outbox, unlike that of any incident."""
LEAD_SECONDS: Mapping[SlowBurnKind, float] = {
    SlowBurnKind.CERTIFICATE: 7 * DAY_SECONDS,
    SlowBurnKind.ERROR_BUDGET: 7 * DAY_SECONDS,
}
"""Time before the date at which a kind is announced: these need a person for longer, and their date is certain."""
OTHER_LEAD_SECONDS = 2 * DAY_SECONDS
"""The same for other kinds, as in the alert ForeshockResourceFillingUp."""
ACT_AHEAD_SECONDS = 7200.0
"""Time before the date from which a message does not wait for working hours that begin later."""
PATIENT_KINDS = (SlowBurnKind.QUEUE, SlowBurnKind.ERROR_BUDGET)
"""Kinds that always wait: nothing fails at their date."""
MOVED_SECONDS, MOVED_RATIO = 3600.0, 0.5
"""A date has moved decisively by this much at least, and by this share of the time that is left until the earlier of
both dates."""
UPDATE_SECONDS = 20 * 3600.0
"""Time between two messages of a group that can wait, and after its end in which the same members are no news."""
OVER_SECONDS, UNKNOWN_SECONDS = 3 * 3600.0, DAY_SECONDS
"""Time for which a group is in no forecast until it is over: three forecasts. Longer where its data is missing."""


class Announced(NamedTuple):
    """A slow burn as it was announced. at, earliest, latest: Unix seconds; None for never."""

    kind: SlowBurnKind
    service: Service | None
    name: str
    at: float
    earliest: float
    latest: float | None

    @property
    def key(self) -> SlowBurnKey:
        """Identifies it in later forecasts."""
        return SlowBurnKey(self.kind, self.service, self.name)


class GroupBody(MessageBody):
    """A message about slow burns. members: as last announced. missing_since: Unix seconds; None while any is there."""

    members: tuple[Announced, ...]
    missing_since: float | None = None


def is_due(burn: SlowBurn, now: float, hours: WorkingHours) -> bool:
    """Whether a slow burn is to be announced at a time (Unix seconds).

    In working hours, once less is left than the lead of its kind, or than a whole day of work. Outside of them, only if
    it comes within two hours, and before the next ones begin.
    """
    left = burn.at - now
    if hours.contains(now):
        lead = LEAD_SECONDS.get(burn.kind, OTHER_LEAD_SECONDS)
        return left <= lead or burn.at < hours.next_start(hours.next_start(now))
    return burn.kind not in PATIENT_KINDS and _is_near(burn, now) and burn.at < hours.next_start(now)


def has_moved(burn: SlowBurn, before: Announced, now: float) -> bool:
    """Whether a date has moved decisively: out of the interval that was announced, and far enough for another plan.

    A queue that grows steadily takes ever longer to double, so that only an earlier date is news.
    """
    if before.earliest <= burn.at and (before.latest is None or burn.at <= before.latest):
        return False
    if burn.kind is SlowBurnKind.QUEUE and burn.at > before.at:
        return False
    left = min(burn.at, before.at) - now
    return abs(burn.at - before.at) >= max(MOVED_SECONDS, MOVED_RATIO * left)


def due_messages(
    channel: Channel, outbox: Outbox, forecast: CapacityForecast, now: float, reader: Reader
) -> Iterator[OutboxMessage]:
    """What is due on a channel that takes early warnings, and what the outbox is to note of those that are missing.

    forecast: the newest one. now: Unix seconds.
    """
    if channel.severity != "warning":
        return
    sent = [item for item in outbox.messages(channel.key) if item.subject.startswith(PREFIX)]
    open_messages = {item.subject: (item, group_body(item)) for item in sent if item.event != "resolved"}
    ended = [item for item in sent if item.event == "resolved" and now - item.at < UPDATE_SECONDS]
    known = {member.key for _, body in open_messages.values() for member in body.members}
    quiet = {member.key for item in ended for member in group_body(item).members}
    for subject, burns in _groups(forecast.slow_burns, reader.services_by_host).items():
        last, body = open_messages.get(subject, (None, None))
        before = {member.key: member for member in body.members} if body else {}
        accepted = [burn for burn in burns if _accepts(channel, burn, reader)]
        due = [burn for burn in accepted if is_due(burn, now, reader.hours) and not reader.silenced(burn.service)]
        fresh = [burn for burn in due if burn.key not in known and (burn.key not in quiet or _is_near(burn, now))]
        moved = [burn for burn in due if burn.key in before and has_moved(burn, before[burn.key], now)]
        waits = last is not None and now - last.at < UPDATE_SECONDS
        if not (fresh or moved) or (waits and not any(_is_near(burn, now) for burn in (*fresh, *moved))):
            continue
        shown = [burn for burn in accepted if burn in fresh or burn.key in before]
        event = "early_warning" if last is None else last.event if last.waiting else "cause"
        owners = dict.fromkeys(filter(None, (reader.owner(of) for burn in shown for of in _services(burn, reader))))
        dates = {burn.key: before[burn.key].at for burn in moved}
        text = slow_burns_message(shown, now, reader.base, [*owners], dates, is_update=event == "cause")
        open_messages.pop(subject, None)
        yield _message(channel, subject, event, now, text, shown)
    burning = {burn.key for burn in forecast.slow_burns}
    for message, body in open_messages.values():
        if changed := _without_burns(message, body, burning, forecast, now, reader):
            yield changed


def group_body(message: OutboxMessage) -> GroupBody:
    """The body of a message about slow burns. Raises ValueError if it cannot be read."""
    return GroupBody.model_validate_json(message.body)


def _is_near(burn: SlowBurn, now: float) -> bool:
    return burn.at - now <= ACT_AHEAD_SECONDS


def _without_burns(
    message: OutboxMessage,
    body: GroupBody,
    burning: set[SlowBurnKey],
    forecast: CapacityForecast,
    now: float,
    reader: Reader,
) -> OutboxMessage | None:
    """The end of a group, or the message with a note of when it went missing; None where nothing changes."""
    keys = {member.key for member in body.members}
    is_missing = not keys & burning
    if message.waiting:
        return message._replace(event="resolved", at=now, waiting=False) if is_missing else None
    if is_missing != (body.missing_since is not None):
        noted = body.model_copy(update={"missing_since": now if is_missing else None})
        return message._replace(body=noted.model_dump_json())
    is_known = keys <= forecast.measured
    if body.missing_since is None or now - body.missing_since < (OVER_SECONDS if is_known else UNKNOWN_SECONDS):
        return None
    if not reader.hours.contains(now):
        return None
    text = over_message(body.service, reader.base, is_known=is_known)
    ended = body.model_copy(update=text._asdict())
    return OutboxMessage(message.channel, message.subject, "resolved", now, ended.model_dump_json())


def _groups(burns: Sequence[SlowBurn], services_by_host: Mapping[str, Set[Service]]) -> dict[str, list[SlowBurn]]:
    """Slow burns by subject, the earliest first: those of a host, else those of a kind in a namespace or cluster.

    Memory of the pods of a service belongs to the host of its GPUs, if that is one, and fills up itself.
    """
    filling = {burn.host for burn in burns if burn.host}
    groups: dict[str, list[SlowBurn]] = {}
    for burn in burns:
        of = [host for host, services in services_by_host.items() if burn.service in services]
        is_shared = burn.kind is SlowBurnKind.MEMORY and len(of) == 1 and of[0] in filling
        host = of[0] if is_shared else burn.host
        subject = f"host {host}" if host else f"{burn.kind} {_namespace(burn)}".rstrip()
        groups.setdefault(f"{PREFIX}{subject}", []).append(burn)
    return groups


def _namespace(burn: SlowBurn) -> str:
    """The namespace of a service or quota, with its cluster; of another thing, its cluster alone."""
    if burn.service:
        return burn.service.namespace
    cluster, name = split_cluster(burn.name)
    return qualified(cluster, name.partition("/")[0] if burn.kind is SlowBurnKind.QUOTA else "")


def _services(burn: SlowBurn, reader: Reader) -> Iterable[Service]:
    """The services whose owners and channels a slow burn is for; one without a name where none is known."""
    if burn.service:
        return (burn.service,)
    return sorted(reader.services_by_host.get(burn.host, ())) or (Service(_namespace(burn), ""),)


def _accepts(channel: Channel, burn: SlowBurn, reader: Reader) -> bool:
    return any(channel.accepts(service, reader.owner(service)) for service in _services(burn, reader))


def _message(
    channel: Channel, subject: str, event: str, now: float, text: MessageText, burns: Sequence[SlowBurn]
) -> OutboxMessage:
    members = tuple(
        Announced(*burn.key, burn.at, burn.earliest, burn.latest if math.isfinite(burn.latest) else None)
        for burn in burns
    )
    body = GroupBody(
        service=slow_burns_name(burns),
        severity="warning",
        cause="",
        title=text.title,
        text=text.text,
        key=subject,
        members=members,
    )
    return OutboxMessage(channel.key, subject, event, now, body.model_dump_json())
