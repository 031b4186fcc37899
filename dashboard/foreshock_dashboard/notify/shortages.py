"""Messages about capacity shortages: early warnings, which wait for working hours as long as there is time to act."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from types import MappingProxyType
from typing import NamedTuple

from foreshock_dashboard.model.capacity.load import Shortage
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world_sections import DAY_SECONDS
from foreshock_dashboard.notify.channels import Channel
from foreshock_dashboard.notify.message import MessageBody, body_of
from foreshock_dashboard.render.notification import MessageText, no_shortage_message, shortage_message
from foreshock_dashboard.settings.working_hours import WorkingHours
from foreshock_dashboard.store.outbox import Outbox, OutboxMessage

PREFIX = "capacity "
"""Begins the subjects of these messages in the outbox, unlike that of any incident."""
SOON_SECONDS = 3600.0
"""A shortage that is nearer than this does not wait."""
ACT_AHEAD_SECONDS = 7200.0
"""Time before the last moment to act at which a shortage is announced outside of working hours, and no earlier: until
then, the forecast may change."""
QUIET_SECONDS = 20 * 3600.0
"""Time after the end of a shortage in which another one of the same service is no news."""


class Reader(NamedTuple):
    """What messages of capacity depend on besides the forecast.

    base: URL of the hub. owner: of a service. silenced: whether a silence covers a service, or a pool or host (None).
    services_by_host: those on its GPUs.
    """

    hours: WorkingHours
    base: str
    owner: Callable[[Service], str]
    silenced: Callable[[Service | None], bool] = lambda _: False
    services_by_host: Mapping[str, Set[Service]] = MappingProxyType({})


def is_due(shortage: Shortage, now: float, hours: WorkingHours) -> bool:
    """Whether a shortage is to be announced at a time (Unix seconds).

    In working hours, if it is within a day, or if one must act before the next ones begin. Outside of them, only if
    that also holds for the median of the forecast, and the time to act is near.
    """
    if shortage.at - now <= SOON_SECONDS:
        return True
    takes = 0.0 if math.isnan(shortage.provisioning_seconds) else shortage.provisioning_seconds
    act_by = shortage.at if math.isnan(shortage.act_by) else shortage.act_by
    if hours.contains(now):
        return act_by < hours.next_start(now) or shortage.at - now <= DAY_SECONDS
    return shortage.at - takes < hours.next_start(now) and act_by - now <= ACT_AHEAD_SECONDS


def due_messages(
    channel: Channel,
    outbox: Outbox,
    shortages: Sequence[Shortage],
    now: float,
    reader: Reader,
) -> Iterator[OutboxMessage]:
    """What is due on a channel that takes early warnings: each shortage once, and its end if it was announced.

    shortages: all of the newest forecast. A silence holds back all but the end of what was announced.
    """
    if channel.severity != "warning":
        return
    present = {_subject(item): item for item in shortages}
    for subject, item in present.items():
        service = item.subject.service or Service("", "")
        last = outbox.get(channel.key, subject)
        is_open = last is not None and last.event != "resolved"
        is_quiet = last is not None and now - last.at < QUIET_SECONDS and item.at - now > SOON_SECONDS
        if (
            is_open
            or is_quiet
            or not channel.accepts(service, reader.owner(service))
            or not is_due(item, now, reader.hours)
        ):
            continue
        if reader.silenced(item.subject.service):
            continue
        text = shortage_message(item, now, reader.base, reader.owner(service))
        yield _message(channel, subject, "early_warning", now, str(item.subject.service or item.subject.pool), text)
    for message in outbox.messages(channel.key):
        if not message.subject.startswith(PREFIX) or message.event == "resolved" or message.subject in present:
            continue
        if message.waiting:
            yield message._replace(event="resolved", at=now, waiting=False)
        elif reader.hours.contains(now):
            name = body_of(message).service
            yield _message(channel, message.subject, "resolved", now, name, no_shortage_message(name, reader.base))


def _subject(shortage: Shortage) -> str:
    service, pool = shortage.subject
    return f"{PREFIX}{service or f'pool {pool}'}"


def _message(channel: Channel, subject: str, event: str, now: float, name: str, text: MessageText) -> OutboxMessage:
    body = MessageBody(service=name, severity="warning", cause="", title=text.title, text=text.text, key=subject)
    return OutboxMessage(channel.key, subject, event, now, body.model_dump_json())
