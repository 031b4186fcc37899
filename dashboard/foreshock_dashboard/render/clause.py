"""Text in clauses: words, and apart from these the services, GPUs, and times that they name."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.render.units import clock

ClauseKind = Literal["", "service", "gpus", "pair", "time", "minute"]


class Clause(NamedTuple):
    """A part of a text.

    kind: what it names: a service, GPUs, a pair of affected service and noisy neighbor, a time to the second or minute;
    "" for the words between. services, gpus: their names. at: Unix seconds.
    """

    text: str
    kind: ClauseKind = ""
    services: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    at: float | None = None


Text = tuple[Clause, ...]


def text(*parts: str | Service | Clause | Text) -> Text:
    """Clauses from words, services and clauses, in the order given; words that follow each other become one clause."""
    clauses: list[Clause] = []
    for clause in _clauses(parts):
        if clauses and not clause.kind and not clauses[-1].kind:
            clauses[-1] = Clause(clauses[-1].text + clause.text)
        elif clause.text:
            clauses.append(clause)
    return tuple(clauses)


def _clauses(parts: Iterable[str | Service | Clause | Text]) -> Iterable[Clause]:
    for part in parts:
        if isinstance(part, str):
            yield Clause(part)
        elif isinstance(part, Service):
            yield Clause(str(part), "service", (str(part),))
        elif isinstance(part, Clause):
            yield part
        else:
            yield from part


def joined(services: Iterable[Service], separator: str = " and ") -> Text:
    """Services with a separator between them."""
    parts = [part for service in services for part in (separator, service)]
    return text(*parts[1:])


def sentences(*texts: Text) -> Text:
    """Texts as sentences, in order; empty ones are left out."""
    parts = [part for sentence in texts if sentence for part in (" ", sentence, ".")]
    return text(*parts[1:])


def time(seconds: float) -> Clause:
    """A time of day to the second: `12:34:56 UTC`."""
    return Clause(f"{clock(seconds)} UTC", "time", at=seconds)


def minute(seconds: float) -> Clause:
    """A time of day to the minute: `12:34 UTC`."""
    return Clause(f"{datetime.fromtimestamp(seconds, UTC):%H:%M} UTC", "minute", at=seconds)


def joined_text(clauses: Text) -> str:
    """The clauses as one text."""
    return "".join(clause.text for clause in clauses)


def in_sentence(label: str) -> str:
    """A label within a sentence: `overload`, `GPU contention`."""
    return label if label[:2].isupper() else f"{label[0].lower()}{label[1:]}"
