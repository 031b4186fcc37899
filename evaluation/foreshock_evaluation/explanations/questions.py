"""Questions about a labeled recording: of a fault at several times, and of times without a fault."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Literal, NamedTuple

from foreshock_dashboard.model.service import Service
from foreshock_evaluation.explanations.incident import Incident

Asker = Literal["users", "all"]
"""Whether the question names the service that users see, or none."""

QUIET_SECONDS_BEFORE, QUIET_SECONDS_AFTER = 30.0, 120.0
"""Distances from faults: a quiet time is at least so long before one, and after the end of one."""
QUIET_SHARES = (0.4, 0.6, 0.8)
"""Times of questions to a fault-free recording, as shares of its length."""
MAX_QUIET_TIMES = 1
QUIET_STEP_SECONDS = 60.0
OTHER_SERVICES = 2
"""Further services asked about at each quiet time."""


class Question(NamedTuple):
    """A question; times in Unix seconds.

    at: the time asked about. end: newest data that the answer may use. service: None for all. offset: seconds after the
    fault was noticed; None where no root cause is to be found.
    """

    at: float
    end: float
    asker: Asker
    service: Service | None
    offset: float | None


def fault_questions(
    incident: Incident, end: float, offsets: Sequence[float], askers: Sequence[Asker], live: bool
) -> list[Question]:
    """Questions about the fault, or about what only looks like one. end: of the recording.

    live: whether data after the time asked about is hidden, as at that time.
    """
    if incident.onset is None:
        return []
    return [
        Question(at, at if live else end, asker, incident.asked if asker == "users" else None, offset)
        for offset in offsets
        for at in (incident.time + offset,)
        for asker in askers
        if at <= end and (asker == "all" or incident.asked is not None)
    ]


def quiet_questions(
    incident: Incident, start: float, end: float, services: Sequence[Service], askers: Sequence[Asker], live: bool
) -> list[Question]:
    """Questions about times without a fault. services: of the recording."""
    last = end if incident.onset is None else incident.onset - 1.0
    if incident.onset is None:
        times = [start + share * (end - start) for share in QUIET_SHARES]
    else:
        begin = incident.onset - QUIET_SECONDS_BEFORE
        times = [begin - i * QUIET_STEP_SECONDS for i in range(MAX_QUIET_TIMES)]
    quiet = [
        at
        for at in times
        if at > start
        and not any(item.start - QUIET_SECONDS_BEFORE < at < item.end + QUIET_SECONDS_AFTER for item in incident.others)
    ]
    chosen = random.Random(incident.name)  # noqa: S311 - a choice of questions
    questions = []
    for at in quiet:
        asked: list[Service | None] = [None] if "all" in askers else []
        if "users" in askers:
            others = [item for item in services if item != incident.asked]
            asked += [item for item in (incident.asked,) if item is not None]
            asked += chosen.sample(others, min(OTHER_SERVICES, len(others)))
        questions += [Question(at, at if live else last, "users" if item else "all", item, None) for item in asked]
    return questions
