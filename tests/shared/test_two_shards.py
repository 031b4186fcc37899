"""Two shards and a front as processes over one Prometheus and one PostgreSQL: each incident once, also after a kill."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import pytest
from tests.conftest import Eventually
from tests.hub.process import HubProcess
from tests.notify.receivers import Webhook, webhook
from tests.shared.test_two_hubs import MINUTE, SLO, STEP, requests
from tests.sources.prometheus.conftest import backfill, running_prometheus

SHARD_OF = {"eu": "1/2", "us": "2/2", "ap": "2/2"}
CLUSTERS = "eu=1,us=2,ap=2"


class Fleet:
    """Three clusters whose service is slow, two shards of them, and a front."""

    def __init__(self, folder: Path, postgres: str, hook: Webhook, opened: ExitStack) -> None:
        now = time.time()
        times = np.arange(now - 50 * MINUTE, now + 30 * MINUTE, STEP)  # Prometheus answers about samples up to now
        slow = (now - 4 * MINUTE, now + 30 * MINUTE)
        rows = requests(times, slow)
        backfill(folder, [(name, {**labels, "cluster": c}, v) for c in SHARD_OF for name, labels, v in rows], times)
        (folder / "channels").write_text(f"json://{hook.address}/ severity=warning\n")
        source = opened.enter_context(running_prometheus(folder)).url
        self._flags = ("--prometheus-url", source, "--postgres-url", postgres, "--shard-clusters", CLUSTERS, *SLO)
        self._folder, self._opened = folder, opened
        self.shards = {part: self.start(part) for part in ("1/2", "2/2")}

    def start(self, part: str, port: str = "0") -> HubProcess:
        """Start a shard."""
        flags = (*self._flags, "--shard", part, "--notify-file", str(self._folder / "channels"), "--port", port)
        return self._serve(f"hub{part[0]}", *flags)

    def front(self) -> HubProcess:
        """Start a front of both."""
        return self._serve("front", "--shards", ",".join(hub.url for hub in self.shards.values()))

    def _serve(self, name: str, *flags: str) -> HubProcess:
        hub = HubProcess.serving(self._folder / name, *flags)
        self._opened.callback(hub.end)
        return hub


@pytest.fixture
def hook() -> Iterator[Webhook]:
    """What takes the notifications."""
    with webhook() as made:
        yield made


def listed(hub: HubProcess) -> dict[str, str]:
    """The IDs of the incidents of a hub or front, by service."""
    return {item["service"]: item["id"] for item in hub.get("/api/incidents").json()["incidents"]}


def not_ready(front: HubProcess) -> str:
    """Why the front is not ready."""
    answer = front.get("/readyz")
    return "" if answer.status_code == 200 else answer.text


@pytest.mark.soak
def test_two_shards_have_each_incident_once_and_a_front_shows_which_one_is_missing(
    url: str, tmp_path: Path, hook: Webhook, eventually: Eventually
) -> None:
    services = {f"{cluster}//shop/chat": part for cluster, part in SHARD_OF.items()}
    with ExitStack() as opened:
        fleet = Fleet(tmp_path, url, hook, opened)
        eventually(lambda: all(hub.up() for hub in fleet.shards.values()), "both shards are ready", 180)
        front = fleet.front()
        eventually(lambda: front.up() and listed(front).keys() == services.keys(), "all incidents on the front", 120)
        names = listed(front)
        for part, hub in fleet.shards.items():
            assert {service for service, of in services.items() if of == part} == listed(hub).keys()
            assert hub.get("/api/status").json()["hub"]["shared"]["leads"], "one hub of each shard notifies"
        eventually(lambda: len(hook.posted) >= len(services), "the notifications")
        rows = front.get("/api/incidents").json()["incidents"]
        assert {item["service"]: item["shard"] for item in rows} == services
        assert all(httpx.get(item["url"], trust_env=False).status_code == 200 for item in rows)

        port = fleet.shards["1/2"].url.rpartition(":")[2]
        fleet.shards["1/2"].end(signal.SIGKILL)
        eventually(lambda: "Shard 1/2 gives no current answer" in not_ready(front), "the front misses it", 90)
        assert listed(front) == names, "what it had found stays listed"
        assert "Others may be missing" in front.get("/").text

        fleet.shards["1/2"] = fleet.start("1/2", port)
        eventually(lambda: front.up() and listed(fleet.shards["1/2"]) != {}, "the shard is back", 180)
        assert listed(front) == names
        titles = [posted["title"] for posted in hook.posted]
        assert len(titles) == len(set(titles)) == len(services), titles
