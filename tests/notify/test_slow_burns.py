"""Messages about slow burns: a group once, again when its date moves decisively, and its end, in working hours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from tests.notify.slow_burns import CART, CHANNEL, CHAT, HOURS, OWNERS, SEARCH, K, at, burn

from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.capacity.slow_burn import SlowBurn, SlowBurnKey
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.notify.channels import Channel
from foreshock_dashboard.notify.message import body_of
from foreshock_dashboard.notify.shortages import Reader
from foreshock_dashboard.notify.slow_burn_news import Announced, has_moved, is_due
from foreshock_dashboard.notify.slow_burns import State, due_messages, state_of
from foreshock_dashboard.store.outbox import Outbox, OutboxMessage
from foreshock_dashboard.store.outbox_file import OutboxFile


@pytest.mark.parametrize(
    ("now", "when", "kind", "due"),
    [
        pytest.param("5 14:00", "7 10:00", K.HOST_MEMORY, True, id="in working hours, within two days"),
        pytest.param("5 14:00", "9 10:00", K.HOST_MEMORY, False, id="in four days"),
        pytest.param("5 14:00", "9 10:00", K.CERTIFICATE, True, id="a certificate, in four days"),
        pytest.param("5 14:00", "9 10:00", K.ERROR_BUDGET, True, id="an error budget of this week"),
        pytest.param("5 14:00", "9 10:00", K.QUEUE, False, id="a queue, in four days"),
        pytest.param("5 22:00", "7 10:00", K.HOST_MEMORY, False, id="at night, it waits for the morning"),
        pytest.param("9 16:00", "12 12:00", K.HOST_MEMORY, True, id="on Friday, of Monday"),
        pytest.param("9 16:00", "13 12:00", K.HOST_MEMORY, False, id="on Friday, of Tuesday: Monday is soon enough"),
        pytest.param("6 01:00", "6 02:30", K.HOST_MEMORY, True, id="at night, within two hours"),
        pytest.param("6 01:00", "6 02:30", K.QUEUE, False, id="at night, a queue that doubles: nothing fails then"),
        pytest.param("6 07:30", "6 09:10", K.HOST_MEMORY, True, id="in the first working hour: too late then"),
        pytest.param("10 12:00", "9 12:00", K.CERTIFICATE, True, id="a certificate that has expired does not wait"),
    ],
)
def test_a_slow_burn_waits_for_working_hours_while_there_is_time(now: str, when: str, kind: K, due: bool) -> None:
    """No message at night for what can wait until the morning, and a working day at least to act on the others."""
    assert is_due(burn(when, kind), at(now), HOURS) is due


@pytest.mark.parametrize(
    ("before", "after", "kind", "moved"),
    [
        pytest.param("9 10:00", "9 08:00", K.HOST_MEMORY, False, id="within the interval"),
        pytest.param("9 10:00", "8 20:00", K.HOST_MEMORY, False, id="out of it, but most of the time remains"),
        pytest.param("9 10:00", "7 10:00", K.HOST_MEMORY, True, id="half of the time is gone"),
        pytest.param("7 10:00", "9 10:00", K.HOST_MEMORY, True, id="twice as much time"),
        pytest.param("7 10:00", "9 10:00", K.QUEUE, False, id="a queue doubles later: it always does"),
        pytest.param("7 10:00", "5 20:00", K.QUEUE, True, id="a queue doubles sooner"),
        pytest.param("5 11:00", "5 10:30", K.CERTIFICATE, False, id="less than an hour"),
    ],
)
def test_a_date_moves_decisively_out_of_its_interval_by_half_of_what_is_left(
    before: str, after: str, kind: K, moved: bool
) -> None:
    """On Monday at 10:00. An interval without an end is left by an earlier date alone."""
    first = burn(before, kind)
    said = Announced(*first.key, first.at, first.earliest, first.latest)
    assert has_moved(burn(after, kind), said, at("5 10:00")) is moved
    is_sooner = at(after) < at(before)
    assert has_moved(burn(after, kind), said._replace(latest=None), at("5 10:00")) is (moved and is_sooner)


class Hub:
    """Plans the messages of a forecast on one channel, which delivers them at once. A restart keeps the outbox."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._opened = folder, ExitStack()
        self.services: Mapping[str, set[Service]] = {}
        self.base = "http://hub"
        self.start()

    def start(self) -> None:
        """Start, as a new process does."""
        self.close()
        self.outbox = Outbox(OutboxFile(self._folder))
        self._opened.callback(self.outbox.close)

    def close(self) -> None:
        """Stop."""
        self._opened.close()

    def plan(
        self,
        now: str,
        *burns: SlowBurn,
        channel: Channel = CHANNEL,
        silenced: Callable[[Service | None], bool] = lambda _: False,
        measured: set[SlowBurnKey] | None = None,
        waiting: bool = False,
    ) -> list[OutboxMessage]:
        """The messages that are due at a time. measured: what has data; all by default."""
        known = frozenset(measured if measured is not None else _everything())
        forecast = CapacityForecast(at(now), slow_burns=tuple(sorted(burns, key=lambda item: item.at)), measured=known)
        owner: Callable[[Service], str] = lambda of: OWNERS.get(of, "")  # noqa: E731 - typed for mypy
        reader = Reader(HOURS, self.base, owner, silenced, self.services)
        found = list(due_messages(channel, self.outbox, forecast, at(now), reader))
        self.outbox.put(*(item._replace(waiting=waiting and item.waiting) for item in found))
        return [item for item in found if item.waiting and item.at == at(now)]  # a note on an older one is no message

    def state(self) -> State:
        """That of the only group."""
        (last,) = self.outbox.messages(CHANNEL.key) or (None,)
        return state_of(last)

    def titles(self, now: str, *burns: SlowBurn, **options: object) -> list[str]:
        """The titles of these messages."""
        return [body_of(item).title for item in self.plan(now, *burns, **options)]  # type: ignore[arg-type]


def _everything() -> set[SlowBurnKey]:
    names = ["host-3", *(f"host-3/gpu-{i}" for i in range(8)), "shop.example.com", ""]
    return {SlowBurnKey(kind, who, name) for kind in K for who in (None, *OWNERS) for name in names}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub with an empty outbox."""
    made = Hub(tmp_path)
    yield made
    made.close()


def test_a_slow_burn_is_announced_once_also_after_a_restart(hub: Hub) -> None:
    """With its date, interval, use, first step, and runbook."""
    hub.services = {"host-3": {CHAT}}
    (message,) = hub.plan("5 14:00", burn("7 10:00"))
    assert message.event == "early_warning"
    assert body_of(message).title == "[warning] Host memory of host-3 fills up Wednesday at 10:00 UTC"
    said = "Host memory of host-3 fills up Wednesday at 10:00 UTC (80% interval 06:00 to 16:00 UTC)."
    assert body_of(message).text.splitlines() == [
        f"{said} Used: 78%, +8.6 pp per day.",
        "Action: During off-peak hours, restart the process whose usage is growing. Then fix the leak.",
        "Owner: team-ml",
        "Capacity: http://hub/capacity",
        "Runbook: http://hub/runbooks/ForeshockResourceFillingUp",
    ]
    assert hub.titles("5 15:00", burn("7 11:00")) == []
    hub.start()
    assert hub.titles("5 16:00", burn("7 09:00")) == []
    assert hub.titles("6 10:00", burn("7 10:00")) == []


def test_a_date_that_moves_decisively_is_sent_once_in_working_hours(hub: Hub) -> None:
    """At most once a day, while there is time to wait. The message says the previous date."""
    hub.plan("5 14:00", burn("7 10:00"))
    assert hub.titles("5 16:00", burn("6 13:00")) == []
    assert hub.titles("6 02:00", burn("6 20:00")) == []
    hub.start()
    (message,) = hub.plan("6 10:00", burn("6 20:00"))
    assert (message.event, body_of(message).title) == (
        "cause",
        "[update] Host memory of host-3 fills up today at 20:00 UTC",
    )
    assert "Previous forecast: tomorrow at 10:00 UTC. Used" in body_of(message).text
    assert hub.titles("6 10:10", burn("6 20:00")) == []
    assert hub.titles("6 10:20", burn("6 12:10")) == ["[update] Host memory of host-3 fills up today at 12:00 UTC"]


def test_the_end_is_sent_after_three_hours_in_no_forecast_in_working_hours(hub: Hub) -> None:
    """A forecast that flickers is no end. What came back within a day is no news, unless it is near."""
    hub.plan("5 14:00", burn("7 10:00"))
    assert hub.titles("5 15:00") == []
    assert hub.titles("5 16:00", burn("7 10:00")) == []
    assert hub.titles("5 16:10") == []
    hub.start()
    assert hub.titles("5 16:30") == []
    assert hub.titles("5 20:00") == []
    assert hub.titles("6 09:00") == ["[resolved] Host memory of host-3: no slow burn forecast"]
    assert hub.titles("6 09:10") == []
    assert hub.titles("6 10:00", burn("7 10:00")) == []
    assert hub.titles("7 09:00", burn("7 12:00")) == ["[warning] Host memory of host-3 fills up today at 12:00 UTC"]


def test_missing_data_is_no_end_for_a_day_and_is_then_named(hub: Hub) -> None:
    """Absent is not over: the exporter of the host may be down."""
    hub.plan("5 14:00", burn("7 10:00"))
    assert [hub.titles(now, measured=set()) for now in ("5 15:00", "6 09:00", "6 14:30")] == [[], [], []]
    assert hub.titles("6 15:30", measured=set()) == ["[resolved] Host memory of host-3: no data for 24 h"]


CALM, NEWS, GONE = ("9 10:00",), ("5 20:00",), ()
"""Dates of a forecast: too late to be announced, or to be news; so near that it does not wait; none."""
ANNOUNCED: tuple[str, tuple[str, ...], bool] = ("5 10:00", ("7 10:00",), False)
"""When, dates, and whether the channel is down."""
HISTORIES: Mapping[str, tuple[State, tuple[tuple[str, tuple[str, ...], bool], ...]]] = {
    "nothing": (State.CLOSED, ()),
    "a warning waits": (State.UNSENT, (("5 10:00", ("7 10:00",), True),)),
    "announced": (State.OPEN, (ANNOUNCED,)),
    "an update waits": (State.OPEN, (ANNOUNCED, ("5 11:00", ("6 03:00",), True))),
    "missing": (State.MISSING, (ANNOUNCED, ("5 12:00", GONE, False))),
    "missing, an update waits": (
        State.MISSING,
        (ANNOUNCED, ("5 11:00", ("6 03:00",), True), ("5 12:00", GONE, True)),
    ),
    "over": (State.CLOSED, (ANNOUNCED, ("5 10:10", GONE, False), ("5 13:10", GONE, False))),
}


@pytest.mark.parametrize(
    ("before", "now", "dates", "event", "after"),
    [
        ("nothing", "5 14:00", CALM, "", State.CLOSED),
        ("nothing", "5 14:00", NEWS, "early_warning", State.UNSENT),
        ("nothing", "5 14:00", GONE, "", State.CLOSED),
        ("a warning waits", "5 14:00", CALM, "", State.UNSENT),
        ("a warning waits", "5 14:00", NEWS, "early_warning", State.UNSENT),
        ("a warning waits", "5 14:00", GONE, "", State.CLOSED),
        ("announced", "5 14:00", CALM, "", State.OPEN),
        ("announced", "5 14:00", NEWS, "cause", State.OPEN),
        ("announced", "5 14:00", GONE, "", State.MISSING),
        ("an update waits", "5 14:00", CALM, "", State.OPEN),
        ("an update waits", "5 14:00", NEWS, "cause", State.OPEN),
        ("an update waits", "5 14:00", GONE, "", State.MISSING),
        ("missing", "5 14:00", CALM, "", State.OPEN),
        ("missing", "5 14:00", NEWS, "cause", State.OPEN),
        ("missing", "5 14:00", GONE, "", State.MISSING),
        ("missing", "5 15:00", GONE, "resolved", State.CLOSED),
        ("missing", "5 18:00", GONE, "", State.MISSING),
        ("missing, an update waits", "5 14:00", CALM, "", State.OPEN),
        ("missing, an update waits", "5 14:00", NEWS, "cause", State.OPEN),
        ("missing, an update waits", "5 14:00", GONE, "", State.MISSING),
        ("missing, an update waits", "5 15:00", GONE, "resolved", State.CLOSED),
        ("over", "5 14:00", ("7 10:00",), "", State.CLOSED),
        ("over", "5 14:00", ("5 15:00",), "early_warning", State.UNSENT),
        ("over", "5 14:00", GONE, "", State.CLOSED),
    ],
)
def test_a_message_follows_from_what_the_receiver_knows_and_what_the_forecast_says(
    hub: Hub, before: str, now: str, dates: tuple[str, ...], event: str, after: State
) -> None:
    """Every state and event. The channel is down after `now`."""
    expected, history = HISTORIES[before]
    for when, said, waiting in history:
        hub.plan(when, *map(burn, said), waiting=waiting)
    assert hub.state() is expected
    assert [item.event for item in hub.plan(now, *map(burn, dates), waiting=True)] == ([event] if event else [])
    assert hub.state() is after


def test_what_waits_is_no_end_of_what_was_announced(hub: Hub) -> None:
    """An update that waits is still sent after a forecast that flickers, and the end in any case."""
    hub.plan("5 14:00", burn("7 10:00"))
    hub.plan("6 10:30", burn("6 20:00"), waiting=True)
    assert hub.titles("6 10:40", waiting=True) == []
    (update,) = hub.outbox.messages(CHANNEL.key)
    assert (update.event, update.waiting) == ("cause", True)
    assert hub.titles("6 13:30", waiting=True) == []
    assert hub.titles("6 13:40") == ["[resolved] Host memory of host-3: no slow burn forecast"]


def test_what_was_never_delivered_is_announced_when_it_comes_back(hub: Hub) -> None:
    """A forecast that flickers while the channel is down must not hold it back for a day."""
    hub.plan("5 14:00", burn("7 10:00"), waiting=True)
    hub.plan("5 15:00")
    assert hub.titles("5 16:00", burn("7 10:00")) == ["[warning] Host memory of host-3 fills up Wednesday at 10:00 UTC"]


@pytest.mark.parametrize(
    ("when", "kind", "sent"),
    [
        pytest.param("6 03:00", K.HOST_MEMORY, True, id="at night"),
        pytest.param("6 10:00", K.HOST_MEMORY, True, id="within the first hours after the wait"),
        pytest.param("6 13:00", K.HOST_MEMORY, False, id="in the next working hours, after the wait"),
        pytest.param("7 09:00", K.HOST_MEMORY, False, id="on the day after"),
    ],
)
@pytest.mark.parametrize("joins", [False, True])
def test_an_update_comes_in_working_hours_if_waiting_would_make_it_a_night_message(
    hub: Hub, when: str, kind: K, sent: bool, joins: bool
) -> None:
    """Announced on Monday at 12:00 for Wednesday; found at 14:00, the next update is due on Tuesday at 9:00."""
    first = burn("7 11:00", K.HOST_DISK if joins else kind, name="host-3:/data" if joins else "host-3", host="host-3")
    hub.plan("5 12:00", first)
    found = hub.titles("5 14:00", burn(when, kind), *([first] if joins else []))
    assert bool(found) is sent
    later = burn("6 11:30", kind)
    assert hub.titles("5 15:00", later, *([first] if joins else [])) == []  # dates that alternate


def test_a_member_stays_in_the_group_that_announced_it(hub: Hub) -> None:
    """A replica on another host changes how pod memory would be grouped. Its date and end are still those announced."""
    hub.services = {"host-3": {CHAT}}
    host, pods = burn("7 12:00"), burn("7 10:00", K.MEMORY, CHAT, "")
    assert len(hub.plan("5 14:00", host, pods)) == 1
    hub.services = {"host-3": {CHAT}, "host-4": {CHAT}}
    (update,) = hub.plan("6 12:00", host, burn("6 14:00", K.MEMORY, CHAT, ""))
    assert body_of(update).title == (
        "[update] Pod memory of serving/llm-chat reaches its limit today at 14:00 UTC (and 1 more)"
    )
    assert "Previous forecast: tomorrow at 10:00 UTC." in body_of(update).text
    hub.plan("6 13:00")
    (end,) = hub.titles("6 16:00")
    assert end == "[resolved] Pod memory of serving/llm-chat and 1 more: no slow burn forecast"


def test_what_is_over_before_it_was_delivered_sends_nothing(hub: Hub) -> None:
    """The receiver knows of none. What changes before is sent once, as the first message."""
    hub.plan("5 14:00", burn("7 10:00"), waiting=True)
    assert hub.titles("6 10:30", burn("6 20:00"), waiting=True) == [
        "[warning] Host memory of host-3 fills up today at 20:00 UTC"
    ]
    assert hub.titles("6 10:40") == []
    assert hub.titles("6 15:00") == []


def test_a_host_with_eight_gpus_and_the_pods_on_it_are_one_message(hub: Hub) -> None:
    """The earliest is in the title, five are listed, and the rest counted."""
    hub.services = {"host-3": {CHAT, CART}, "host-4": {CART}}
    gpus = [burn("7 12:00", K.GPU_MEMORY, name=f"host-3/gpu-{i}", host="host-3") for i in range(8)]
    pods = [burn("7 08:00", K.MEMORY, CHAT, ""), burn("7 09:00", K.MEMORY, CART, "")]
    first, second = hub.plan("5 14:00", burn("7 10:00"), *gpus, *pods)
    title = "[warning] Pod memory of serving/llm-chat reaches its limit Wednesday at 08:00 UTC (and 9 more)"
    assert body_of(first).title == title
    lines = body_of(first).text.splitlines()
    assert len([line for line in lines if line.startswith("GPU memory")]) == 3
    assert lines[5:8] == [
        "5 more on the Capacity page.",
        "Action: During off-peak hours, restart the process whose usage is growing. Then fix the leak.",
        "Owner: team-ml, team-shop",
    ]
    assert body_of(second).title == "[warning] Pod memory of shop/cart reaches its limit Wednesday at 09:00 UTC"


def test_services_of_a_namespace_share_a_message_by_kind_and_those_that_join_are_an_update(hub: Hub) -> None:
    """At most one a day. It is over when none is left."""
    first, joined = burn("6 20:00", K.FILE_DESCRIPTORS, CART, ""), burn("7 10:00", K.FILE_DESCRIPTORS, SEARCH, "")
    other = burn("7 09:00", K.DISK, CART, "")
    assert hub.titles("5 14:00", first, other) == [
        "[warning] Open files of shop/cart reach their limit tomorrow at 20:00 UTC",
        "[warning] Volume of shop/cart fills up Wednesday at 09:00 UTC",
    ]
    assert hub.titles("5 15:00", first, joined, other) == []
    assert hub.titles("6 10:00", first, joined, other) == [
        "[update] Open files of shop/cart reach their limit today at 20:00 UTC (and 1 more)"
    ]
    assert hub.titles("6 11:00", joined, other) == []
    assert hub.titles("6 16:00", joined, other) == []
    assert hub.titles("6 16:30", other) == []
    assert hub.titles("7 09:00", other) == ["[resolved] Open files of shop/cart and 1 more: no slow burn forecast"]


def test_channels_get_what_their_owner_and_filters_say(hub: Hub) -> None:
    """A host is for the owners of the services on it, a quota for its namespace. A channel for pages gets none."""
    hub.services = {"host-3": {CHAT}}
    everything = [
        burn("7 10:00"),
        burn("7 11:00", K.QUOTA, name="shop/team/limits.memory"),
        burn("7 12:00", K.CERTIFICATE, name="shop.example.com"),
        burn("7 13:00", K.ERROR_BUDGET, CART, "latency"),
        burn("7 14:00", K.MEMORY, CHAT, ""),
    ]
    filters: Mapping[str, Mapping[str, tuple[str, ...]]] = {
        "all": {},
        "ml": {"owner": ("team-ml",)},
        "shop": {"namespace": ("shop",)},
        "cart": {"service": ("cart",)},
    }
    found = {
        name: [
            body_of(item).service
            for item in hub.plan("5 14:00", *everything, channel=replace(CHANNEL, label=name, patterns=patterns))
        ]
        for name, patterns in filters.items()
    }
    certificate, budget = "Certificate for shop.example.com", "Error budget of shop/cart (latency)"
    quota, host = "Quota of shop/team/limits.memory", "Host memory of host-3 and 1 more"
    assert found == {"all": [host, quota, certificate, budget], "ml": [host], "shop": [quota, budget], "cart": [budget]}
    assert hub.plan("5 14:00", *everything, channel=replace(CHANNEL, severity="critical")) == []


def test_a_silence_holds_back_a_slow_burn_but_not_its_end(hub: Hub) -> None:
    """That of a service holds back its own alone."""
    both = [burn("7 10:00", K.MEMORY, CART, ""), burn("7 11:00", K.MEMORY, SEARCH, "")]
    of_cart: Callable[[Service | None], bool] = lambda service: service == CART  # noqa: E731 - typed for mypy
    (message,) = hub.plan("5 14:00", *both, silenced=of_cart)
    assert body_of(message).service == "Pod memory of shop/search"
    assert hub.titles("5 14:10", silenced=lambda _: True) == []
    (end,) = hub.titles("6 09:00", silenced=lambda _: True)
    assert end == "[resolved] Pod memory of shop/search: no slow burn forecast"


def test_a_silence_holds_back_a_member_of_an_update(hub: Hub) -> None:
    """Its date is then compared with the announced one, once the silence has ended."""
    cart, search = burn("7 10:00", K.MEMORY, CART, ""), burn("7 11:00", K.MEMORY, SEARCH, "")
    of_cart: Callable[[Service | None], bool] = lambda service: service == CART  # noqa: E731 - typed for mypy
    hub.plan("5 14:00", cart)
    sooner = burn("6 20:00", K.MEMORY, CART, "")
    (update,) = hub.plan("6 10:30", sooner, search, silenced=of_cart)
    assert body_of(update).title == "[update] Pod memory of shop/search reaches its limit tomorrow at 11:00 UTC"
    assert "cart" not in body_of(update).text
    (moved,) = hub.plan("6 11:00", sooner, search)
    assert "Previous forecast: tomorrow at 10:00 UTC." in body_of(moved).text


def test_hubs_do_not_resolve_the_messages_of_each_other(hub: Hub) -> None:
    """PagerDuty and Opsgenie know a message by its key: it has the URL of the hub, and stays while it is open."""
    hub.base = "http://eu"
    (first,) = hub.plan("5 14:00", burn("7 12:00", K.CERTIFICATE, name="shop.example.com"))
    assert body_of(first).key == "slow burn certificate of http://eu"
    hub.base = "http://moved"
    (update,) = hub.plan("6 10:30", burn("6 20:00", K.CERTIFICATE, name="shop.example.com"))
    hub.plan("6 11:00")
    (end,) = hub.plan("6 14:00")
    assert [(item.event, body_of(item).key) for item in (update, end)] == [
        ("cause", "slow burn certificate of http://eu"),
        ("resolved", "slow burn certificate of http://eu"),
    ]


def test_clusters_do_not_share_messages(hub: Hub) -> None:
    """Services of one name, and certificates, are of their cluster."""
    of = [Service(f"{cluster}//shop", "cart") for cluster in ("eu", "us")]
    burns = [burn("7 10:00", K.MEMORY, service, "") for service in of]
    burns += [burn("7 11:00", K.CERTIFICATE, name=f"{cluster}//a.example.com") for cluster in ("eu", "us")]
    assert len(hub.plan("5 14:00", *burns)) == 4
    eu = replace(CHANNEL, label="eu", patterns={"cluster": ("eu",)})
    assert [body_of(item).service for item in hub.plan("5 14:00", *burns, channel=eu)] == [
        "Pod memory of shop/cart in eu",
        "Certificate for a.example.com in eu",
    ]
