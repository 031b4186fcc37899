"""Two hubs as processes over one Prometheus and one PostgreSQL: one incident, one answer, one notification."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.conftest import Eventually
from tests.hub.process import HubProcess
from tests.notify.receivers import Webhook, webhook
from tests.sources.prometheus.conftest import Row, backfill, running_prometheus

MINUTE, STEP = 60.0, 10.0
BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, float("inf"))
SLO = ("--slo", "shop/chat=500ms:10%", "--evaluation-interval", "2s", "--scrape-interval", "10s")


def requests(times: np.ndarray, slow: tuple[float, float]) -> list[Row]:
    """Ten requests a second of shop/chat: of 0.25 s at most, and from one time to another of 1 to 2.5 s."""
    labels = {
        "service_name": "chat",
        "service_namespace": "shop",
        "span_kind": "SPAN_KIND_SERVER",
        "span_name": "POST /chat",
    }
    every = 10 * (times - times[0])
    late = 10 * (np.clip(times, *slow) - slow[0])
    fast = every - late
    duration = "traces_span_metrics_duration_seconds"
    counts = {bound: 0.4 * fast if bound == 0.1 else fast if bound < 2.5 else every for bound in BOUNDS}
    return [
        ("up", {"job": "chat", "instance": "10.0.0.1:1"}, np.ones_like(times)),
        ("traces_span_metrics_calls_total", labels, every),
        (f"{duration}_count", labels, every),
        (f"{duration}_sum", labels, 0.2 * fast + 1.5 * late),
        *(
            (f"{duration}_bucket", {**labels, "le": f"{bound:g}".replace("inf", "+Inf")}, n)
            for bound, n in counts.items()
        ),
    ]


class Pair:
    """Two hubs that may end and start again at any moment. slow: from when until when the service is slow."""

    def __init__(self, folder: Path, url: str, hook: Webhook, opened: ExitStack, slow: tuple[float, float]) -> None:
        now = time.time()
        times = np.arange(now - 50 * MINUTE, now + 30 * MINUTE, STEP)  # Prometheus answers about samples up to now
        backfill(folder, requests(times, slow), times)
        self._prometheus = opened.enter_context(running_prometheus(folder)).url
        self._folder, self._url = folder, url
        (folder / "channels").write_text(f"json://{hook.address}/ severity=warning\n")
        self._hook, self._opened = hook, opened
        self.hubs = [self.start(0), self.start(1)]

    def start(self, number: int) -> HubProcess:
        """Start a hub."""
        flags = ("--prometheus-url", self._prometheus, "--postgres-url", self._url, *SLO)
        hub = HubProcess.serving(self._folder / f"hub{number}", *flags, "--notify-file", str(self._folder / "channels"))
        self._opened.callback(hub.end)
        return hub

    def kill(self, number: int) -> None:
        """End a hub without a word."""
        self.hubs[number].end(signal.SIGKILL)

    def leader(self) -> int:
        """The number of the hub that notifies."""
        return next(number for number, hub in enumerate(self.hubs) if status(hub)["leads"])

    def titles(self) -> list[str]:
        """The titles of what was sent."""
        return [posted["title"] for posted in self._hook.posted]


def status(hub: HubProcess) -> dict[str, object]:
    """What a hub says of the shared database."""
    shared: dict[str, object] = hub.get("/api/status").json()["hub"]["shared"]
    return shared


def incidents(hub: HubProcess) -> list[dict[str, object]]:
    """Its incidents."""
    found: list[dict[str, object]] = hub.get("/api/incidents").json()["incidents"]
    return found


def acknowledged(hub: HubProcess) -> str:
    """Who acknowledged its only incident."""
    (item,) = hub.get("/api/incidents").json()["incidents"]
    stamp = item["response"]["acknowledged"]
    return stamp["by"] if stamp else ""


Start = Callable[[tuple[float, float]], Pair]


@pytest.fixture
def pair(url: str, tmp_path: Path) -> Iterator[Start]:
    """Start two hubs."""
    with ExitStack() as opened:
        hook = opened.enter_context(webhook())
        yield lambda slow: Pair(tmp_path, url, hook, opened, slow)


def test_two_hubs_show_one_incident_share_what_people_say_and_notify_once(pair: Start, eventually: Eventually) -> None:
    """Also when the one that notified is killed: the other takes over, and repeats nothing."""
    now = time.time()
    made = pair((now - 4 * MINUTE, now + 30 * MINUTE))
    eventually(lambda: all(hub.up() for hub in made.hubs), "both are ready", 120)
    eventually(lambda: all(incidents(hub) for hub in made.hubs), "the incident on both")
    (name,) = {str(item["id"]) for hub in made.hubs for item in incidents(hub)}
    eventually(lambda: made.titles() != [], "the notification")
    leader = made.leader()
    other = made.hubs[1 - leader]
    assert status(other) == {**status(made.hubs[leader]), "leads": False}

    answer = httpx.post(f"{other.url}/api/incidents/{name}/acknowledge", json={"by": "ada"}, trust_env=False)
    assert answer.status_code == 200, answer.text
    eventually(
        lambda: acknowledged(made.hubs[leader]) == "ada",
        "the acknowledgment on the other hub",
    )
    sent = made.titles()
    made.kill(leader)
    eventually(lambda: bool(status(other)["leads"]), "the other one leads")
    made.hubs[leader] = made.start(leader)
    eventually(made.hubs[leader].up, "the killed one is back", 120)
    assert [item["id"] for item in incidents(made.hubs[leader])] == [name]
    assert acknowledged(made.hubs[leader]) == "ada"
    assert not status(made.hubs[leader])["leads"]
    assert made.titles() == sent
    assert len(sent) == len(set(sent))


@pytest.mark.soak
def test_an_incident_from_its_start_to_its_end_is_notified_once_though_hubs_are_killed(
    pair: Start, eventually: Eventually
) -> None:
    """Each minute one of them, at a random moment; both never differ about its identity."""
    chance = random.Random(7)
    now = time.time()
    made = pair((now + 2 * MINUTE, now + 6 * MINUTE))
    names: set[str] = set()
    end = now + 14 * MINUTE
    while time.time() < end:
        eventually(lambda: all(hub.up() for hub in made.hubs), "both are ready", 120)
        for hub in made.hubs:
            names |= {str(item["id"]) for item in incidents(hub)}
        number = chance.randrange(2)
        later = time.time() + chance.uniform(20, 60)
        eventually(lambda until=later: time.time() > until, "a while", 120)  # type: ignore[misc]
        made.kill(number)
        made.hubs[number] = made.start(number)
    eventually(lambda: all(hub.up() for hub in made.hubs), "both are ready", 120)
    sent = Counter(made.titles())
    assert len(names) == 1, names
    assert max(sent.values()) == 1, sent
    assert any("resolved" in title.lower() for title in sent), sent
