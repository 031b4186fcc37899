"""Real Alertmanagers: two peers, two hubs, and a webhook that they notify."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import httpx
import pytest
from tests.conftest import Eventually
from tests.notify.incidents import incident
from tests.notify.receivers import Webhook, alertmanagers, clustered, webhook

from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.notify.alertmanager import Alertmanager, Suppression
from foreshock_dashboard.notify.due import Mute
from foreshock_dashboard.notify.notifier import Notifier

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[list[str], Webhook]]:
    """Two Alertmanagers that know each other, and the webhook that they notify."""
    with webhook() as hook, alertmanagers(tmp_path_factory.mktemp("alertmanager"), hook, 2) as urls:
        yield urls, hook


@pytest.fixture(autouse=True)
def ready(cluster: tuple[list[str], Webhook], eventually: Eventually) -> None:
    """Wait until they answer and see each other."""
    eventually(lambda: all(clustered(url, 2) for url in cluster[0]), "a cluster of two")


def opened(name: str) -> Incident:
    """An incident that pages from its opening on."""
    now = time.time()
    return incident(id=name, since=now - 60, opened=now - 5, paged=now - 5)


def notified(hook: Webhook, name: str) -> list[str]:
    """The notifications about an incident, by status."""
    return [group["status"] for group in hook.posted if group["groupLabels"]["incident"] == name]


def test_one_incident_of_two_hubs_is_one_notification_and_one_resolution(
    cluster: tuple[list[str], Webhook], start: Callable[..., Notifier], eventually: Eventually
) -> None:
    """Each hub posts to both peers; a corrected cause sends nothing again."""
    urls, hook = cluster
    recorded: list[Json] = []
    hubs = [
        start("a", urls=tuple(urls), record=lambda _, data: recorded.append(data)),
        start("b", urls=tuple(urls)),
    ]
    state = opened("i1")
    for hub in hubs:
        hub.observe((state,), complete=True)
    eventually(lambda: notified(hook, "i1") == ["firing"], "the notification")
    (group,) = [group for group in hook.posted if group["groupLabels"]["incident"] == "i1"]
    (alert,) = group["alerts"]
    assert alert["labels"]["alertname"] == "ForeshockIncident"
    assert alert["annotations"]["action"].startswith("Move ml/batch-embed off host-1/gpu-0.")

    corrected = replace(state, cause="overload")
    for hub in hubs:
        hub.observe((corrected,), complete=True)
    firing = f"{urls[1]}/api/v2/alerts?filter=incident%3D%22i1%22"
    summary = "Suspected cause: overload"
    eventually(lambda: summary in httpx.get(firing).json()[0]["annotations"]["description"], "the correction")
    over = replace(corrected, state="resolved", resolved=time.time())
    for hub in hubs:
        hub.observe((over,), complete=True)
    eventually(lambda: "resolved" in notified(hook, "i1"), "the resolution")
    eventually(lambda: httpx.get(firing).json() == [], "that no alert is left")
    assert notified(hook, "i1") == ["firing", "resolved"]
    eventually(lambda: len(recorded) == 2, "both in the journal, once for both peers")
    assert [(item["channel"], item["event"]) for item in recorded] == [
        ("Alertmanager", "page"),
        ("Alertmanager", "resolved"),
    ]
    assert [item.outcomes["failed"] for hub in hubs for item in hub.stats()] == [0, 0, 0, 0]


def test_a_silence_shows_until_when_and_ends_when_it_is_expired(
    cluster: tuple[list[str], Webhook], start: Callable[..., Notifier], eventually: Eventually
) -> None:
    """One that the hub creates, and any other on the incident's labels."""
    urls, hook = cluster
    client = Alertmanager(urls[0])
    now = time.time()
    end = float(round(now + 3600))
    silence = client.create_silence({"incident": "i2"}, now, end, "ada", "known")
    (found,) = client.silences()
    assert (found.id, found.matchers, found.end, found.by) == (silence, {"incident": "i2"}, end, "ada")
    hub = start("c", urls=(urls[0],))
    hub.observe((opened("i2"),), complete=True)
    eventually(lambda: hub.suppressions() == {"i2": Suppression(end, inhibited=False)}, "the suppression")
    assert hub.silenced_until() == {"i2": end}
    assert notified(hook, "i2") == []
    client.expire_silence(silence)
    assert client.silences() == ()
    eventually(lambda: notified(hook, "i2") == ["firing"], "the notification after the silence")
    client.close()


def test_a_new_owner_does_not_page_again(
    cluster: tuple[list[str], Webhook], start: Callable[..., Notifier], eventually: Eventually
) -> None:
    """The owner is a label, so it stays the one of the first post."""
    urls, hook = cluster
    owners = ["team-a"]
    hub = start("f", urls=(urls[0],), owner=lambda _: owners[0])
    state = opened("i6")
    hub.observe((state,), complete=True)
    eventually(lambda: notified(hook, "i6") == ["firing"], "the notification")
    owners[0] = "team-b"
    hub.observe((replace(state, cause="overload"),), complete=True)
    firing = f"{urls[0]}/api/v2/alerts?filter=incident%3D%22i6%22"
    eventually(lambda: "overload" in httpx.get(firing).json()[0]["annotations"]["description"], "the correction")
    (alert,) = httpx.get(firing).json()
    assert alert["labels"]["owner"] == "team-a"


def test_an_incident_that_is_silenced_in_the_hub_is_silenced_in_alertmanager(
    cluster: tuple[list[str], Webhook], start: Callable[..., Notifier], eventually: Eventually
) -> None:
    """Before its alert is posted; once its silence ends, also early, it notifies."""
    urls, hook = cluster
    mutes = {"i4": Mute(time.time() + 3600, "ada", "a known leak")}
    hub = start("e", urls=tuple(urls), muted=lambda incident, _: mutes.get(incident.id))
    hub.observe((opened("i4"), opened("i5")), complete=True)
    eventually(lambda: "i4" in hub.suppressions() and notified(hook, "i5") == ["firing"], "silence and notification")
    assert notified(hook, "i4") == []
    silence = next(item for item in hub.alertmanagers[0].silences() if item.matchers == {"incident": "i4"})
    assert (silence.by, silence.comment) == ("foreshock ada", "a known leak")
    mutes.clear()
    hub.observe((opened("i4"), opened("i5")), complete=True)
    eventually(lambda: notified(hook, "i4") == ["firing"], "the notification after the silence")
    assert [item for item in hub.alertmanagers[0].silences() if item.matchers == {"incident": "i4"}] == []


def test_an_answer_that_is_none_of_alertmanager_is_an_error_that_says_so(hook: Webhook) -> None:
    """Such as the address of something else."""
    client = Alertmanager(f"http://{hook.address}")
    with pytest.raises(SourceError, match="501"):
        client.silences()
    hook.status = 400
    with pytest.raises(SourceError, match="400"):
        client.post([])
    client.close()


def test_a_peer_that_is_down_delays_no_other(
    cluster: tuple[list[str], Webhook], start: Callable[..., Notifier], eventually: Eventually
) -> None:
    """It is shown with its error."""
    urls, hook = cluster
    hub = start("d", urls=("http://127.0.0.1:9", urls[1]))
    hub.observe((opened("i3"),), complete=True)
    eventually(lambda: notified(hook, "i3") == ["firing"], "the notification by the other peer")
    dead, alive = hub.stats()
    assert (dead.name, alive.name) == ("http://127.0.0.1:9", urls[1])
    assert "cannot be reached" in dead.error
    assert alive.error == ""
