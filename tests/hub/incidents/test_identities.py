"""An incident keeps its ID across a restart of the hub, also if it opened before the history that is analyzed again."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from foreshock_dashboard.analysis.incidents.content import LATENT_SUFFIX
from foreshock_dashboard.analysis.incidents.lifecycle import (
    MIN_LEARNING_SECONDS,
    LatentRiskWarning,
    State,
    TrackedIncident,
)
from foreshock_dashboard.hub.identities import REOPEN_SECONDS, Identities
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.response.entries import acknowledge, assign
from foreshock_dashboard.response.reader import ResponseReader
from foreshock_dashboard.sources.shard import Shard
from foreshock_dashboard.store.journal import Journal

CHAT, GATEWAY, SEARCH = Service("serving", "chat"), Service("serving", "gateway"), Service("serving", "search")
NOW = 1_767_600_000.0
BEGIN = NOW - 3 * 3600.0
"""Start of the history that is analyzed again."""
AGAIN = BEGIN + MIN_LEARNING_SECONDS + 30.0
"""When an incident that was open all the time opens in it."""


def incident(service: Service, opened: float, paged: float | None = None, resolved: float | None = None) -> Incident:
    """An incident as the analysis finds it."""
    return Incident(
        id=f"{opened:.0f}-{service.name}",
        severity="warning" if paged is None else "critical",
        state="firing" if resolved is None else "resolved",
        cause="overload",
        service=service,
        since=opened - 60.0,
        opened=opened,
        paged=paged,
        resolved=resolved,
        first_service=service,
        paged_service=None if paged is None else service,
    )


OLD = replace(incident(CHAT, NOW - 5 * 3600.0, paged=NOW - 4.9 * 3600.0), first_service=GATEWAY)
"""It opened two hours before the analyzed history."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a journal with the old incident."""
    with closing(Journal(tmp_path, now=lambda: NOW)) as journal:
        Identities(journal).record([OLD])
    return tmp_path


def found(folder: Path, *groups: tuple[Incident, float], begin: float = BEGIN) -> list[Incident]:
    """The incidents of a hub that starts with a journal, and finds each incident at a time."""
    with closing(Journal(folder, now=lambda: NOW)) as journal:
        identities = Identities(journal)
        identities.restored(State(begin))
        state = State(begin)
        for item, time in groups:
            tracked = (*state.tracked, TrackedIncident(frozenset({item.service}), 1, 0, 0.0, time, incident=item))
            state = identities.restored(State(time, tracked=tracked))
        return [group.incident for group in state.tracked if group.incident]


def test_an_incident_older_than_the_history_is_the_same_after_a_restart(folder: Path) -> None:
    """With its ID, times, severity, and the services that identify its alerts."""
    (same,) = found(folder, (incident(CHAT, AGAIN), AGAIN))
    assert (same.id, same.opened, same.paged, same.severity) == (OLD.id, OLD.opened, OLD.paged, "critical")
    assert (same.first_service, same.paged_service) == (GATEWAY, CHAT)
    assert same.alerted_service("critical") == OLD.alerted_service("critical")


def test_what_people_did_about_it_follows(folder: Path) -> None:
    """The acknowledgment and the assignment are found under the restored ID."""
    with closing(Journal(folder, now=lambda: NOW)) as journal:
        journal.append("incident", NOW, "dana", acknowledge(OLD.id))
        journal.append("incident", NOW, "dana", assign(OLD.id, "lee"))
    (same,) = found(folder, (incident(GATEWAY, AGAIN), AGAIN))
    with closing(Journal(folder, now=lambda: NOW)) as journal:
        response = ResponseReader(journal).current().of(same.id)
    assert response.acknowledged is not None
    assert response.assignment is not None
    assert (response.acknowledged.by, response.assignment.assignee) == ("dana", "lee")


@pytest.mark.parametrize(
    ("item", "begin"),
    [
        pytest.param(incident(SEARCH, AGAIN), BEGIN, id="another service"),
        pytest.param(incident(CHAT, BEGIN + REOPEN_SECONDS + 60.0), BEGIN, id="the service was healthy meanwhile"),
        pytest.param(incident(CHAT, OLD.opened), OLD.opened - 7200.0, id="the data alone gives the same ID"),
    ],
)
def test_another_incident_keeps_the_id_that_the_data_give_it(folder: Path, item: Incident, begin: float) -> None:
    """So replays and other hubs over the same data agree."""
    assert found(folder, (item, item.opened), begin=begin) == [item]


def test_an_early_warning_of_a_latent_risk_is_the_same_as_well(folder: Path) -> None:
    """And no incident of its service, which may be open beside it."""
    latent = replace(incident(CHAT, NOW - 4 * 3600.0), id=f"20260105T040000Z-chat{LATENT_SUFFIX}")
    with closing(Journal(folder, now=lambda: NOW)) as journal:
        Identities(journal).record([latent])
    with closing(Journal(folder, now=lambda: NOW)) as journal:
        identities = Identities(journal)
        identities.restored(State(BEGIN))
        again = replace(incident(CHAT, AGAIN), id=f"again{LATENT_SUFFIX}")
        tracked = TrackedIncident(frozenset({CHAT}), 1, 0, 0.0, AGAIN, incident=incident(CHAT, AGAIN))
        warned = (LatentRiskWarning(again, AGAIN),)
        state = identities.restored(State(AGAIN, tracked=(tracked,), latent_risk_warnings=warned))
    assert [(item.id, item.opened) for item in state.incidents] == [(OLD.id, OLD.opened)]
    (same,) = state.latent_risk_warnings
    assert (same.incident.id, same.incident.opened) == (latent.id, latent.opened)


def test_one_of_two_incidents_of_a_service_is_the_old_one(folder: Path) -> None:
    """The first that is found."""
    first, second = found(folder, (incident(CHAT, AGAIN), AGAIN), (incident(CHAT, AGAIN + 600.0), AGAIN + 600.0))
    assert (first.id, second.id) == (OLD.id, f"{AGAIN + 600.0:.0f}-chat")


def test_a_resolved_incident_does_not_return(tmp_path: Path) -> None:
    """Its resolution is in the journal, too, once."""
    with closing(Journal(tmp_path, now=lambda: NOW)) as journal:
        identities = Identities(journal)
        identities.record([OLD])
        for _ in range(3):
            identities.record([replace(OLD, state="resolved", resolved=AGAIN - 600.0)])
        assert len(journal.read("identity")) == 2
    assert found(tmp_path, (again := incident(CHAT, AGAIN), AGAIN)) == [again]


@pytest.mark.parametrize(("number", "same"), [(1, False), (2, True)], ids=["another shard", "the same shard"])
def test_an_incident_follows_only_the_hubs_of_its_shard(tmp_path: Path, number: int, *, same: bool) -> None:
    """Series without a cluster may have services of the same names. Their shard is the first, that of eu the second."""
    shards = [Shard(part, 2, (("eu", 2), ("", 1))) for part in (1, 2)]
    paged = incident(CHAT.in_cluster("eu"), NOW, paged=NOW)
    later = incident(CHAT if number == 1 else CHAT.in_cluster("eu"), NOW + 60.0)
    group = TrackedIncident(frozenset({later.service}), 1, 0, 0.0, NOW, incident=later)
    with closing(Journal(tmp_path, now=lambda: NOW)) as journal:
        Identities(journal, lambda: True, shards[1].has).record([paged])
        follower = Identities(journal, lambda: False, shards[number - 1].has)
        (found,) = follower.followed(State(NOW + 60.0, tracked=(group,))).incidents
    assert (found.id, found.severity) == ((paged.id, "critical") if same else (later.id, "warning"))


def test_only_what_changes_is_written(tmp_path: Path) -> None:
    """Opening and page; not each evaluation, and not again after a restart."""
    opened = incident(CHAT, NOW)
    paged = replace(opened, severity="critical", paged=NOW + 60.0, paged_service=CHAT)
    for _ in range(2):
        with closing(Journal(tmp_path, now=lambda: NOW)) as journal:
            identities = Identities(journal)
            identities.restored(State(BEGIN))
            for item in (opened, opened, paged, paged) if not journal.newest else (paged,):
                identities.record([item])
            assert len(journal.read("identity")) == 2


def test_a_journal_that_fails_stops_no_evaluation(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged once, and written once the journal works."""
    with closing(Journal(tmp_path, now=lambda: NOW)) as journal:
        identities, broken = Identities(journal), SourceError("disk full")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(journal, "append", Mock(side_effect=broken))
            patch.setattr(journal, "read", Mock(side_effect=broken))
            state = State(AGAIN, tracked=(TrackedIncident(frozenset({CHAT}), 1, 0, 0.0, AGAIN, incident=OLD),))
            assert identities.restored(state) == state
            for _ in range(3):
                identities.record([OLD])
        identities.record([OLD])
        assert len(journal.read("identity")) == 1
    assert [record.message for record in caplog.records if "restart" in record.message] == [
        "incidents that are open now may get a different ID after a restart: disk full"
    ]
