"""Which messages about groups of slow burns are due on a channel: one step of each group's state."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import Enum, auto
from typing import NamedTuple

from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.capacity.slow_burn import SlowBurn, SlowBurnKey
from foreshock_dashboard.model.world_sections import DAY_SECONDS
from foreshock_dashboard.notify.channels import Channel
from foreshock_dashboard.notify.shortages import Reader
from foreshock_dashboard.notify.slow_burn_groups import PREFIX, GroupBody, group_body, grouped, services_of
from foreshock_dashboard.notify.slow_burn_news import UPDATE_SECONDS, Announced, can_wait, has_moved, is_due, is_near
from foreshock_dashboard.render.notification import over_message, slow_burns_message, slow_burns_name
from foreshock_dashboard.settings.working_hours import WorkingHours
from foreshock_dashboard.store.outbox import Outbox, OutboxMessage

OVER_SECONDS, UNKNOWN_SECONDS = 3 * 3600.0, DAY_SECONDS
"""Time for which a group is in no forecast until it is over: three forecasts. Longer where its data is missing."""


class State(Enum):
    """What a receiver knows of a group."""

    CLOSED = auto()
    """Nothing, or its end."""
    UNSENT = auto()
    """Nothing yet: the first message waits."""
    OPEN = auto()
    """Its members, also where an update waits."""
    MISSING = auto()
    """Its members, none of which was in the last forecast."""


class Event(Enum):
    """What a forecast says of a group."""

    PRESENT = auto()
    """Members as announced, or news that can wait."""
    NEWS = auto()
    """News that is to be sent now."""
    ABSENT = auto()
    """No member."""
    OVER = auto()
    """No member for so long that the end is to be sent now."""


class Step(Enum):
    """What follows."""

    WARN = auto()
    """Send the first message, in place of one that waits."""
    UPDATE = auto()
    """Send what has changed."""
    RESOLVE = auto()
    """Send the end."""
    FORGET = auto()
    """Send nothing: the receiver knows of nothing."""
    NOTE_MISSING = auto()
    """Note the time; what waits still does."""
    NOTE_PRESENT = auto()
    """Forget that time."""


STEPS: Mapping[tuple[State, Event], Step] = {
    (State.CLOSED, Event.NEWS): Step.WARN,
    (State.UNSENT, Event.NEWS): Step.WARN,
    (State.UNSENT, Event.ABSENT): Step.FORGET,
    (State.OPEN, Event.NEWS): Step.UPDATE,
    (State.OPEN, Event.ABSENT): Step.NOTE_MISSING,
    (State.MISSING, Event.NEWS): Step.UPDATE,
    (State.MISSING, Event.PRESENT): Step.NOTE_PRESENT,
    (State.MISSING, Event.OVER): Step.RESOLVE,
}
"""Otherwise, nothing follows."""


class _Last(NamedTuple):
    """The last message of an open group."""

    message: OutboxMessage
    body: GroupBody


class _News(NamedTuple):
    """What a message would say. shown: all members, the earliest first. silenced: those that it leaves out.

    moved: announced dates of those that moved, Unix seconds.
    """

    shown: Sequence[SlowBurn]
    silenced: Collection[SlowBurnKey]
    moved: Mapping[SlowBurnKey, float]


def due_messages(
    channel: Channel, outbox: Outbox, forecast: CapacityForecast, now: float, reader: Reader
) -> Iterator[OutboxMessage]:
    """What is due on a channel that takes early warnings, and what the outbox is to note of those that are missing.

    forecast: the newest one. now: Unix seconds.
    """
    if channel.severity != "warning":
        return
    sent = [item for item in outbox.messages(channel.key) if item.subject.startswith(PREFIX)]
    lasts = {item.subject: _Last(item, group_body(item)) for item in sent if item.event != "resolved"}
    ended = [item for item in sent if item.event == "resolved" and now - item.at < UPDATE_SECONDS]
    quiet = {member.key for item in ended for member in group_body(item).members}
    of_open = {member.key: subject for subject, last in lasts.items() for member in last.body.members}
    groups = grouped(forecast.slow_burns, reader.services_by_host, of_open)
    for subject in dict.fromkeys((*groups, *lasts)):
        last, burns = lasts.get(subject), groups.get(subject, ())
        accepted = [burn for burn in burns if _accepts(channel, burn, reader)]
        news = _news(accepted, last, quiet, now, reader)
        match STEPS.get((state_of(last and last.message), _event(news, burns, last, forecast, now, reader.hours))):
            case (Step.WARN | Step.UPDATE) as step if news:
                is_update = step is Step.UPDATE
                yield _message(channel, subject, news, last, now, reader, is_update=is_update)
            case step if last and step:
                yield _without_news(step, last, forecast, now, reader)


def state_of(message: OutboxMessage | None) -> State:
    """What the receiver knows after the last message of a group; None without any."""
    if message is None or message.event == "resolved":
        return State.CLOSED
    if message.waiting and message.event == "early_warning":
        return State.UNSENT
    return State.OPEN if group_body(message).missing_since is None else State.MISSING


def _news(
    burns: Sequence[SlowBurn], last: _Last | None, quiet: Collection[SlowBurnKey], now: float, reader: Reader
) -> _News | None:
    """What is to be said of a group now; None for nothing, or what can wait. quiet: what ended a short time ago."""
    before = last.body.announced if last else {}
    silenced = {burn.key for burn in burns if reader.silenced(burn.service)}
    due = [burn for burn in burns if burn.key not in silenced and is_due(burn, now, reader.hours)]
    fresh = [burn for burn in due if burn.key not in before and (burn.key not in quiet or is_near(burn, now))]
    moved = [burn for burn in due if burn.key in before and has_moved(burn, before[burn.key], now)]
    urgent = [*fresh, *moved]
    if last and now - (at := last.message.at) < UPDATE_SECONDS:
        urgent = [burn for burn in urgent if not can_wait(burn, before.get(burn.key), at, reader.hours)]
    if not urgent:
        return None
    shown = [burn for burn in burns if burn in fresh or burn.key in before]
    return _News(shown, silenced, {burn.key: before[burn.key].at for burn in moved})


def _event(
    news: _News | None,
    burns: Sequence[SlowBurn],
    last: _Last | None,
    forecast: CapacityForecast,
    now: float,
    hours: WorkingHours,
) -> Event:
    if news:
        return Event.NEWS
    if last is None or any(burn.key in last.body.announced for burn in burns):
        return Event.PRESENT
    since = last.body.missing_since
    limit = OVER_SECONDS if _is_measured(last.body, forecast) else UNKNOWN_SECONDS
    return Event.OVER if since is not None and now - since >= limit and hours.contains(now) else Event.ABSENT


def _without_news(step: Step, last: _Last, forecast: CapacityForecast, now: float, reader: Reader) -> OutboxMessage:
    """The end of a group, or its last message with a note."""
    message, body = last
    if step is Step.FORGET:  # without members: what was not announced is news when it comes back
        forgotten = body.model_copy(update={"members": ()})
        return message._replace(event="resolved", at=now, body=forgotten.model_dump_json(), waiting=False)
    if step is Step.RESOLVE:
        text = over_message(body.service, reader.base, is_known=_is_measured(body, forecast))
        ended = body.model_copy(update=text._asdict())
        return OutboxMessage(message.channel, message.subject, "resolved", now, ended.model_dump_json())
    noted = body.model_copy(update={"missing_since": now if step is Step.NOTE_MISSING else None})
    return message._replace(body=noted.model_dump_json())


def _is_measured(body: GroupBody, forecast: CapacityForecast) -> bool:
    return body.announced.keys() <= forecast.measured


def _accepts(channel: Channel, burn: SlowBurn, reader: Reader) -> bool:
    return any(channel.accepts(of, reader.owner(of)) for of in services_of(burn, reader.services_by_host))


def _message(
    channel: Channel, subject: str, news: _News, last: _Last | None, now: float, reader: Reader, *, is_update: bool
) -> OutboxMessage:
    """A message with news. What is silenced stays as it was announced, and is not in the text."""
    before = last.body.announced if last else {}
    said = [burn for burn in news.shown if burn.key not in news.silenced]
    services = (of for burn in said for of in services_of(burn, reader.services_by_host))
    owners = [*dict.fromkeys(filter(None, map(reader.owner, services)))]
    text = slow_burns_message(said, now, reader.base, owners, news.moved, is_update=is_update)
    body = GroupBody(
        service=slow_burns_name(said),
        severity="warning",
        cause="",
        title=text.title,
        text=text.text,
        key=last.body.key if last else f"{subject} of {reader.base}",
        members=tuple(before[burn.key] if burn.key in news.silenced else _announced(burn) for burn in news.shown),
    )
    return OutboxMessage(channel.key, subject, "cause" if is_update else "early_warning", now, body.model_dump_json())


def _announced(burn: SlowBurn) -> Announced:
    return Announced(*burn.key, burn.at, burn.earliest, burn.latest if math.isfinite(burn.latest) else None)
