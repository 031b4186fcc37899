"""The capacity forecast in words."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from tests.web.forecasts import (
    CHAT,
    DAY,
    FORECAST,
    HOUR,
    IDLE,
    NONE_SHORT,
    NOT_YET,
    RECENT,
    UNREADABLE,
    YOUNG,
    shortage,
    slow_burn,
)
from tests.web.worlds import NOW

from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.capacity.load import LoadKind, Shortage
from foreshock_dashboard.model.capacity.slow_burn import SlowBurn, SlowBurnKind
from foreshock_dashboard.render.capacity_text import (
    act_text,
    headline,
    moment,
    quality_notes,
    shortage_text,
    slow_burn_text,
)
from foreshock_dashboard.render.clause import joined_text


@pytest.mark.parametrize(
    ("at", "words"),
    [
        (-60.0, "now"),
        (240.0, "now"),
        (2 * HOUR, "today at 12:00 UTC"),
        (DAY, "tomorrow at 10:00 UTC"),
        (14 * HOUR, "tomorrow at 00:00 UTC"),
        (2 * DAY, "Thursday at 10:00 UTC"),
        (6 * DAY + 304.0, "Monday at 10:10 UTC"),
        (7 * DAY, "Dec 2 at 10:00 UTC"),
    ],
)
def test_a_moment_has_the_day_that_people_say(at: float, words: str) -> None:
    """Rounded to ten minutes."""
    assert moment(NOW + at, NOW).text == words


OPEN_END = "tomorrow at 10:40 UTC (80% interval from 09:50 UTC, or not at all in 7 days)"
DAYS = "tomorrow at 10:40 UTC (80% interval today at 10:40 to Thursday at 10:40 UTC)"
EXCEEDS = "vllm-70b exceeds its hourly safe limit"
WHEN = "tomorrow at 10:40 UTC (80% interval 09:50 to 11:30 UTC)"


@pytest.mark.parametrize(
    ("short", "words"),
    [
        (
            shortage(),
            f"{EXCEEDS} {WHEN} unless 2 replicas are added. Pool chat has room for only 1.",
        ),
        (
            shortage(replicas=1, room=3, max_replicas=math.nan),
            f"{EXCEEDS} {WHEN} unless 1 replica is added. Pool chat has room for it.",
        ),
        (
            shortage(room=2, max_replicas=math.nan),
            f"{EXCEEDS} {WHEN} unless 2 replicas are added. Pool chat has room for them.",
        ),
        (
            shortage(room=0),
            f"{EXCEEDS} {WHEN} unless 2 replicas are added. Pool chat has no room.",
        ),
        (
            shortage(room=math.nan, pool="", max_replicas=math.nan),
            f"{EXCEEDS} {WHEN} unless 2 replicas are added. Room in its pool is unknown.",
        ),
        (shortage(replicas=0), f"{EXCEEDS} {WHEN}."),
        (
            shortage(None, kind=LoadKind.GPU_QUOTA, replicas=3),
            f"Pool chat exceeds its GPU quota {WHEN} unless 3 GPUs are added.",
        ),
        (
            shortage(latest=math.inf),
            f"{EXCEEDS} {OPEN_END} unless 2 replicas are added. Pool chat has room for only 1.",
        ),
        (
            shortage(earliest=-DAY, latest=DAY, room=9, max_replicas=math.nan),
            f"{EXCEEDS} {DAYS} unless 2 replicas are added. Pool chat has room for them.",
        ),
        (
            shortage(replicas=3, max_replicas=5.0, room=8.0),
            (
                f"{EXCEEDS} {WHEN} unless its autoscaler's maximum is raised "
                "from 5 to 6 replicas. Pool chat has room for them."
            ),
        ),
        (
            shortage(max_replicas=3.0, room=5.0),
            (
                f"{EXCEEDS} {WHEN} unless its autoscaler's maximum is raised "
                "from 3 to 5 replicas. Pool chat has room for them."
            ),
        ),
        (
            shortage(replicas=5, max_replicas=5.0, room=3.0),
            (
                f"{EXCEEDS} {WHEN} unless its autoscaler's maximum is raised "
                "from 5 to 8 replicas. Pool chat has room for only 6 in total."
            ),
        ),
        (
            shortage(max_replicas=5.0, room=1.0),
            f"{EXCEEDS} {WHEN} unless 2 replicas are added. Pool chat has room for only 1.",
        ),
        (
            shortage(at=NOW - 60.0, replicas=3, max_replicas=5.0, room=math.nan),
            (f"{EXCEEDS} now. Raise its autoscaler's maximum from 5 to 6 replicas. Room in pool chat is unknown."),
        ),
        (
            shortage(at=NOW - 60.0),
            f"{EXCEEDS} now. Add 2 replicas. Pool chat has room for only 1.",
        ),
    ],
)
def test_a_shortage_is_announced_with_what_prevents_it(short: Shortage, words: str) -> None:
    assert joined_text(shortage_text(short, NOW)) == words


def test_a_shortage_that_only_follows_from_the_last_days_is_a_possible_one() -> None:
    """Without an interval, which no quantile supports."""
    assert joined_text(shortage_text(RECENT, NOW)) == (
        "vllm-70b may exceed its hourly safe limit tomorrow at 10:40 UTC (exceeded in the last 7 days) "
        "unless 2 replicas are added. Pool chat has room for only 1."
    )


def test_a_forecast_that_is_not_updated_has_its_age() -> None:
    """With the reason."""
    (note,) = quality_notes(replace(FORECAST, error="Prometheus refuses connections."), NOW + 2 * HOUR)
    assert joined_text(note) == "The forecast is 2 h old: Prometheus refuses connections."


def test_slow_burns_that_could_not_be_read_are_noted() -> None:
    (note,) = quality_notes(replace(FORECAST, slow_burns_error="x509_cert_not_after: too many series"), NOW)
    assert joined_text(note) == "Slow burns may be missing: x509_cert_not_after: too many series"


@pytest.mark.parametrize(
    ("short", "words"),
    [
        (shortage(), "Add by tomorrow at 09:40 UTC: a replica takes 8 min to start."),
        (shortage(at=NOW), "Add now: a replica takes 8 min to start."),
        (
            shortage(replicas=3, max_replicas=5.0, room=8.0),
            "Raise it by tomorrow at 09:40 UTC: a replica takes 8 min to start.",
        ),
        (RECENT, "Add by tomorrow at 10:30 UTC: a replica takes 8 min to start."),
        (shortage(provisioning_seconds=math.nan), ""),
        (shortage(replicas=0), ""),
    ],
)
def test_replicas_must_be_added_early_enough_to_start(short: Shortage, words: str) -> None:
    """Before the earliest time of the interval, by the time that a replica takes."""
    assert joined_text(act_text(short, NOW)) == words


BURN = "Thursday at 14:00 UTC (80% interval 04:00 to Friday at 10:00 UTC)."
EXPIRES = replace(
    slow_burn(SlowBurnKind.CERTIFICATE, name="shop.example.com"), earliest=slow_burn().at, latest=slow_burn().at
)


@pytest.mark.parametrize(
    ("burn", "words"),
    [
        (slow_burn(), f"Host memory of host-3 fills up {BURN}"),
        (slow_burn(SlowBurnKind.GPU_MEMORY, name="host-3/gpu-0"), f"GPU memory of host-3/gpu-0 fills up {BURN}"),
        (slow_burn(SlowBurnKind.FILE_DESCRIPTORS, CHAT, ""), f"Open files of vllm-70b reach their limit {BURN}"),
        (
            replace(slow_burn(SlowBurnKind.ERROR_BUDGET, CHAT, "latency"), period_seconds=14.9 * DAY),
            f"Error budget of vllm-70b (latency, 15 days) runs out {BURN}",
        ),
        (slow_burn(SlowBurnKind.QUEUE, CHAT, ""), f"Queue for vllm-70b doubles {BURN}"),
        (slow_burn(SlowBurnKind.QUOTA, name="serving/team/cpu"), f"Quota of serving/team/cpu fills up {BURN}"),
        (replace(EXPIRES, at=NOW - 2 * DAY), "Certificate for shop.example.com expired 2 d ago."),
        (EXPIRES, "Certificate for shop.example.com expires Thursday at 14:00 UTC."),
    ],
)
def test_a_slow_burn_says_when_what_is_full(burn: SlowBurn, words: str) -> None:
    """To the hour."""
    assert joined_text(slow_burn_text(burn, NOW)) == words


@pytest.mark.parametrize(
    ("forecast", "words"),
    [
        (FORECAST, joined_text(shortage_text(shortage(), NOW))),
        (NONE_SHORT, "No shortage in the next 7 days."),
        (NOT_YET, "No forecast yet. The first one is being computed (needs at least 24 h of history)."),
        (YOUNG, "No forecast yet: 5 h of history, 24 h needed. It is expected tomorrow at 05:00 UTC."),
        (IDLE, "No forecast: no service reports its load. Send spans, or scrape the model servers."),
        (UNREADABLE, "No forecast: Prometheus http://127.0.0.1:9090 refuses connections. Start it."),
    ],
)
def test_the_headline_is_the_first_shortage_or_why_none_is_known(forecast: CapacityForecast, words: str) -> None:
    assert joined_text(headline(forecast, NOW)) == words
