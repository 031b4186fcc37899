"""Messages about capacity shortages: each once, in working hours, unless the time to act is near."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from foreshock_dashboard.model.capacity.load import LoadKind, Shortage, Subject
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.notify.channels import Channel
from foreshock_dashboard.notify.message import body_of
from foreshock_dashboard.notify.shortages import Reader, due_messages, is_due
from foreshock_dashboard.settings.working_hours import WorkingHours
from foreshock_dashboard.store.outbox import Outbox, OutboxMessage
from foreshock_dashboard.store.outbox_file import OutboxFile

HOURS = WorkingHours.parse("Mon-Fri 09:00-17:00 UTC")
CHAT = Service("serving", "llm-chat")
CHANNEL = Channel("chat", "json", "json://example.com", 1, severity="warning")


def at(text: str) -> float:
    """Unix seconds of a day of January 2026 and a time: `5 10:40` is on a Monday."""
    day, clock = text.split()
    return datetime.fromisoformat(f"2026-01-{int(day):02}T{clock}:00+00:00").timestamp()


def shortage(when: str, **changes: object) -> Shortage:
    """One of llm-chat; replicas start in eight minutes, and the interval begins ten minutes before."""
    first = at(when)
    known = Shortage(
        Subject(CHAT, "chat"),
        LoadKind.TOKENS,
        first,
        first - 600,
        first + 600,
        120.0,
        first,
        100.0,
        2,
        room=4.0,
        provisioning_seconds=480.0,
    )
    return replace(known, **changes)  # type: ignore[arg-type]  # fields


@pytest.mark.parametrize(
    ("now", "when", "due"),
    [
        pytest.param("5 14:00", "6 10:40", True, id="in working hours, the day before"),
        pytest.param("5 22:00", "6 10:40", False, id="at night, it waits for the morning"),
        pytest.param("6 09:00", "6 10:40", True, id="in the morning"),
        pytest.param("6 01:00", "6 08:30", False, id="before working hours, and too early to act at night"),
        pytest.param("6 06:20", "6 08:30", True, id="the last moment to act comes before working hours"),
        pytest.param("5 14:00", "7 10:40", False, id="in two days"),
        pytest.param("9 16:00", "11 12:00", True, id="on Friday, of Sunday"),
        pytest.param("9 16:00", "12 12:00", False, id="on Friday, of Monday at noon"),
        pytest.param("10 12:00", "12 09:50", False, id="on Saturday, of Monday"),
        pytest.param("6 02:30", "6 03:20", True, id="within the hour"),
    ],
)
def test_a_shortage_waits_for_working_hours_while_there_is_time_to_act(now: str, when: str, due: bool) -> None:
    """No page at night for what can wait until the morning."""
    assert is_due(shortage(when), at(now), HOURS) is due


def test_without_a_known_start_time_of_a_replica_the_shortage_itself_is_the_last_moment() -> None:
    """It is announced all the same."""
    unknown = shortage("6 08:30", provisioning_seconds=math.nan)
    assert [is_due(unknown, at(now), HOURS) for now in ("6 06:20", "6 06:40")] == [False, True]


def test_a_band_that_begins_tonight_does_not_wake_for_a_median_of_another_day() -> None:
    """The median decides at night; where replicas take long, it is their request that comes before working hours."""
    wide, slow = shortage("9 10:40", earliest=at("6 02:30")), shortage("6 10:00", provisioning_seconds=2 * 3600.0)
    assert [is_due(wide, at(now), HOURS) for now in ("6 01:00", "6 09:00")] == [False, True]
    assert [is_due(slow, at(now), HOURS) for now in ("6 05:30", "6 06:00")] == [False, True]


SAID, ROOM = "serving/llm-chat exceeds its hourly safe limit", "Pool chat has room for them"
Due = Callable[..., list[OutboxMessage]]


@pytest.fixture
def plan(tmp_path: Path) -> Iterator[Due]:
    """What is due of the shortages of a forecast at a time, put into an outbox as delivered."""
    with closing(Outbox(OutboxFile(tmp_path))) as outbox:

        def due(
            now: str, *shortages: Shortage, channel: Channel = CHANNEL, waiting: bool = False, silenced: bool = False
        ) -> list[OutboxMessage]:
            reader = Reader(HOURS, "http://hub", lambda _: "team-ml", lambda _: silenced)
            found = list(due_messages(channel, outbox, shortages, at(now), reader))
            outbox.put(*(item._replace(waiting=waiting and item.waiting) for item in found))
            return found

        yield due


def test_a_shortage_is_announced_once_and_ends_in_working_hours(plan: Due) -> None:
    """The forecast may lose and find it again within the day, which is no news."""
    (message,) = plan("5 14:00", shortage("6 10:40"))
    assert message.event == "early_warning"
    assert body_of(message).title == "[warning] serving/llm-chat: capacity shortage tomorrow at 10:40 UTC"
    assert body_of(message).text.splitlines() == [
        f"{SAID} tomorrow at 10:40 UTC (80% interval 10:30 to 10:50 UTC) unless 2 replicas are added. {ROOM}.",
        "Add by tomorrow at 10:20 UTC: a replica takes 8 min to start.",
        "Owner: team-ml",
        "Capacity: http://hub/capacity?service=serving%2Fllm-chat&pool=chat",
        "Runbook: http://hub/runbooks/ForeshockCapacityShortage",
    ]
    assert plan("5 15:00", shortage("6 10:50")) == []
    assert plan("5 20:00") == []
    (end,) = plan("6 09:00")
    assert (end.event, body_of(end).title) == ("resolved", "[resolved] serving/llm-chat: no capacity shortage forecast")
    assert plan("6 10:00", shortage("6 16:00")) == []
    assert [item.event for item in plan("7 09:30", shortage("7 16:00"))] == ["early_warning"]


def test_an_end_before_the_message_was_delivered_sends_nothing(plan: Due) -> None:
    """The receiver knows of no shortage."""
    plan("5 14:00", shortage("6 10:40"), waiting=True)
    (end,) = plan("5 14:10")
    assert (end.event, end.waiting) == ("resolved", False)


def test_a_silence_holds_back_a_shortage_but_not_its_end(plan: Due) -> None:
    """It is announced once the silence is over. The end closes what the receiver knows."""
    assert plan("5 14:00", shortage("6 10:40"), silenced=True) == []
    assert [item.event for item in plan("5 14:10", shortage("6 10:40"))] == ["early_warning"]
    assert [item.event for item in plan("6 09:00", silenced=True)] == ["resolved"]


def test_channels_take_what_their_filters_say(plan: Due) -> None:
    """One for pages takes none."""
    other = replace(CHANNEL, patterns={"service": ("search*",)})
    assert plan("5 14:00", shortage("6 10:40"), channel=replace(CHANNEL, severity="critical")) == []
    assert plan("5 14:00", shortage("6 10:40"), channel=other) == []
    pool = shortage("6 10:40", subject=Subject(None, "chat"))
    assert plan("5 14:00", pool, channel=other) == []
    (message,) = plan("5 14:00", pool)
    assert body_of(message).title == "[warning] pool chat: capacity shortage tomorrow at 10:40 UTC"


@pytest.mark.parametrize(
    ("hours", "inside", "start"),
    [
        ("Mon-Fri 09:00-17:00 UTC", False, "12 09:00"),
        ("Sat 10:00-18:00 UTC", True, "17 10:00"),
        ("Fri-Mon 00:00-23:59 UTC", True, "11 00:00"),
        ("Mon-Fri 09:00-17:00 Asia/Tokyo", False, "12 00:00"),
    ],
)
def test_working_hours_of_a_saturday_noon(hours: str, inside: bool, start: str) -> None:
    """In the named time zone."""
    known, now = WorkingHours.parse(hours), at("10 12:00")
    assert known.contains(now) is inside
    assert datetime.fromtimestamp(known.next_start(now), UTC) == datetime.fromtimestamp(at(start), UTC)


@pytest.mark.parametrize(
    "text", ["", "9-17", "Mon-Fri 17:00-09:00", "Mon-Fri 09:00-25:00", "Xyz 09:00-17:00", "Mon 09:00-17:00 No/Zone"]
)
def test_unreadable_working_hours_are_refused(text: str) -> None:
    """With an example, or the reason."""
    with pytest.raises(ValueError, match=r"Use DAYS HH:MM-HH:MM|the end is not after the start"):
        WorkingHours.parse(text)
