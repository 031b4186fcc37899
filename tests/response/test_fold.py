"""What people did about incidents follows from the journal's entries alone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.web.worlds import NOW, contended, contention_incident

from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.journal import Entry, Kind
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.clause import joined_text
from foreshock_dashboard.render.incident_timeline import by_line, incident_timeline
from foreshock_dashboard.response import entries
from foreshock_dashboard.response.fold import fold
from foreshock_dashboard.response.reader import ResponseReader
from foreshock_dashboard.store import Journal
from foreshock_dashboard.store.journal import JournalLimits
from foreshock_dashboard.web.state.response_json import MAX_EVENTS, response

INCIDENT = contention_incident(contended())
ID, SERVICE, NEIGHBOR = INCIDENT.id, INCIDENT.service, INCIDENT.suspect.service
OTHER = Service("", "another")


def said(*data: Mapping[str, Any], kind: str = "incident") -> list[Entry]:
    """Entries by dana, then by sam, ten seconds apart."""
    return [
        Entry(number + 1, kind, NOW + 10 * number, ("dana", "sam")[number % 2], row) for number, row in enumerate(data)
    ]


def test_of_two_people_who_act_at_once_the_last_one_is_shown_and_both_stay() -> None:
    seen = fold(said(entries.acknowledge(ID), entries.acknowledge(ID))).of(ID)
    assert seen.acknowledged == ("sam", NOW + 10)
    assert [entry.by for entry in seen.entries] == ["dana", "sam"]


def test_an_acknowledgment_and_an_assignment_can_be_withdrawn() -> None:
    seen = fold(
        said(
            entries.acknowledge(ID),
            entries.assign(ID, "eve"),
            entries.acknowledge(ID, acknowledged=False),
            entries.assign(ID, ""),
        )
    ).of(ID)
    assert (seen.acknowledged, seen.assignment) == (None, None)
    assert len(seen.entries) == 4


def test_a_past_time_shows_what_was_known_then() -> None:
    known = said(entries.acknowledge(ID), entries.note(ID, "restarted it"), entries.assign(ID, "eve"))
    then = fold(known, until=NOW + 10).of(ID)
    assert [note.text for note in then.notes] == ["restarted it"]
    assert then.assignment is None
    assert fold(known).of(ID).assignment is not None


def test_an_incident_without_entries_has_an_empty_response() -> None:
    assert fold([]).of(ID).entries == ()
    assert fold(said(entries.acknowledge("another"))).of(ID).acknowledged is None


@pytest.mark.parametrize(
    ("target", "incident", "is_silenced"),
    [
        ({"incident": ID}, INCIDENT, True),
        ({"incident": "another"}, INCIDENT, False),
        ({"service": SERVICE}, INCIDENT, True),
        ({"service": OTHER}, INCIDENT, False),
        ({"service": SERVICE, "noisy_neighbor": NEIGHBOR}, INCIDENT, True),
        ({"service": SERVICE, "noisy_neighbor": OTHER}, INCIDENT, False),
        ({"service": OTHER, "noisy_neighbor": NEIGHBOR}, replace(INCIDENT, affected=(OTHER,)), True),
        ({"service": OTHER}, replace(INCIDENT, affected=(OTHER,)), False),
        ({}, INCIDENT, True),
    ],
)
def test_a_silence_covers_the_incidents_that_it_is_for(
    target: dict[str, Any], incident: Incident, *, is_silenced: bool
) -> None:
    responses = fold(said(entries.silence(NOW, NOW + 100, **target)))
    assert (responses.silence_of(incident, NOW + 50) is not None) == is_silenced
    assert responses.silence_of(incident, NOW - 1) is None
    assert responses.silence_of(incident, NOW + 100) is None


@pytest.mark.parametrize(
    ("target", "service", "is_silenced"),
    [
        ({"service": SERVICE}, SERVICE, True),
        ({"service": SERVICE}, OTHER, False),
        ({"service": SERVICE}, None, False),
        ({"service": SERVICE, "noisy_neighbor": NEIGHBOR}, SERVICE, False),
        ({"incident": ID}, SERVICE, False),
        ({}, SERVICE, True),
        ({}, None, True),
    ],
)
def test_a_silence_of_a_service_or_of_all_covers_its_capacity_messages(
    target: dict[str, Any], service: Service | None, *, is_silenced: bool
) -> None:
    """Those of a pool have no service: only a silence of all covers them."""
    responses = fold(said(entries.silence(NOW, NOW + 100, **target)))
    assert responses.silences_capacity(service, NOW + 50) is is_silenced
    assert not responses.silences_capacity(service, NOW + 100)


def test_a_silence_can_be_ended_early_and_of_several_the_longest_counts() -> None:
    long, short = entries.silence(NOW, NOW + 1000, service=SERVICE), entries.silence(NOW, NOW + 500, incident=ID)
    both = fold(said(long, short))
    assert (silence := both.silence_of(INCIDENT, NOW + 60))
    assert silence.end == NOW + 1000
    ended = fold(said(long, short, entries.end_silence(1)))
    assert (silence := ended.silence_of(INCIDENT, NOW + 60))
    assert silence.end == NOW + 500
    assert ended.silences[-1].end == NOW + 20


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"action": "promote", "incident": ID},
        {"action": "silence", "start": "soon", "end": 3, "incident": ID},
        {"action": "feedback", "incident": ID, "verdict": "splendid"},
        {"action": "feedback", "incident": ID, "verdict": "wrong_cause", "cause": "gremlins"},
        {"action": "note", "incident": ID},
    ],
)
def test_an_entry_of_an_unknown_form_is_left_out(data: dict[str, Any]) -> None:
    seen = fold(said(entries.acknowledge(ID), data)).of(ID)
    assert seen.acknowledged
    assert len(seen.entries) == 1


def test_the_timeline_has_what_happened_who_did_what_and_what_was_sent() -> None:
    incident = replace(INCIDENT, since=NOW - 90, opened=NOW - 60, paged=NOW - 30, state="resolved", resolved=NOW + 300)
    known = said(
        entries.acknowledge(ID),
        entries.assign(ID, "eve"),
        entries.note(ID, "paused the batch job"),
        entries.silence(NOW + 30, NOW + 3600, incident=ID, comment="known"),
        entries.silence(NOW + 40, NOW + 3600, service=SERVICE, maintenance=True),
        entries.feedback(ID, "wrong_cause", "network", OTHER, "the switch"),
    )
    sent = Entry(
        9, "notification", NOW - 29, "hub", {"incident": ID, "channel": "#ops", "event": "page", "outcome": "sent"}
    )
    responses = fold([sent, *known])
    events = incident_timeline(incident, responses.of(ID), responses.silences, NOW + 400)
    assert [joined_text(by_line(event)) for event in events][:4] == [
        "first anomaly",
        "incident opened",
        "paged",
        "page sent to #ops",
    ]
    lines = [joined_text(by_line(event)) for event in events][4:]
    assert lines[:3] == ["acknowledged by dana", "assigned to eve by sam", "note “paused the batch job” by dana"]
    assert lines[3].startswith("silenced until ")
    assert lines[3].endswith(" UTC (known) by sam")
    assert f"{SERVICE} maintenance until" in lines[4]
    assert lines[5] == "feedback: wrong cause, it was another (network) (“the switch”) by sam"
    assert lines[6] == "resolved"


def test_the_reader_sees_an_entry_at_once() -> None:
    journal = Journal(None, now=lambda: NOW)
    reader = ResponseReader(journal)
    assert reader.current().of(ID).acknowledged is None
    journal.append("incident", NOW, "dana", entries.acknowledge(ID))
    assert reader.current().of(ID).acknowledged == ("dana", NOW)
    assert reader.at(NOW - 1).of(ID).acknowledged is None


@pytest.mark.parametrize(
    ("start", "end", "ended_at", "is_shown"),
    [
        (50, 200, None, True),
        (101, 200, None, False),
        (50, 200, 60, True),
        (50, 200, 40, False),
        (-200, -100, None, False),
    ],
)
def test_the_timeline_has_the_maintenance_windows_that_covered_the_incident(
    start: float, end: float, ended_at: float | None, *, is_shown: bool
) -> None:
    """Neither a planned one nor one that was canceled before its start."""
    incident = replace(INCIDENT, opened=NOW, state="firing", resolved=None)
    window = Entry(1, "incident", NOW - 300, "dana", entries.silence(NOW + start, NOW + end, maintenance=True))
    ends = [] if ended_at is None else [Entry(2, "incident", NOW + ended_at, "dana", entries.end_silence(1))]
    responses = fold([window, *ends])
    events = incident_timeline(incident, responses.of(ID), responses.silences, NOW + 100)
    assert any("maintenance" in joined_text(event.text) for event in events) == is_shown


def test_an_incident_with_as_many_entries_as_the_journal_keeps_is_folded_in_linear_time() -> None:
    known = said(*[entries.note(ID, "again")] * JournalLimits().rows)
    before = time.process_time()
    assert len(fold(known).of(ID).notes) == len(known)
    assert time.process_time() - before < 2.0


def test_the_reader_reads_each_entry_once_and_forgets_those_that_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foreshock_dashboard.response.reader.READ_AGAIN_AFTER", 4)
    journal = Journal(None, now=lambda: NOW, limits=JournalLimits(rows=2))
    read, found = journal.read, list[int]()

    def counted(kind: Kind | None = None, after: int = 0) -> list[Entry]:
        entries_ = read(kind, after)
        found.append(len(entries_))
        return entries_

    monkeypatch.setattr(journal, "read", counted)
    reader = ResponseReader(journal)
    kept = []
    for number in range(6):
        journal.append("incident", NOW, "dana", entries.note(ID, str(number)))
        kept.append([int(note.text) for note in reader.current().of(ID).notes])
    assert kept == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 3, 4], [4, 5]]
    assert found == [1, 1, 1, 1, 1, 2]


def test_a_page_has_the_newest_events_of_a_long_incident() -> None:
    responses = fold(said(*(entries.note(ID, f"note {number}.") for number in range(MAX_EVENTS + 50))))
    seen = response(INCIDENT, responses, NOW + 10_000)
    assert (len(seen["timeline"]), len(seen["notes"])) == (MAX_EVENTS, MAX_EVENTS)
    assert f"note {MAX_EVENTS + 49}." in str(seen["timeline"][-1])
    assert len(incident_timeline(INCIDENT, responses.of(ID), (), NOW + 10_000)) > MAX_EVENTS, "as in the postmortem"
