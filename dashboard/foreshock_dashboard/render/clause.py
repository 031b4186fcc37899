"""Text in clauses: words, and apart from these the services, GPUs, hosts, and times that they name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from foreshock_dashboard.model.service import CLUSTER_MARK, Service, split_cluster
from foreshock_dashboard.render.units import clock
from foreshock_dashboard.render.words.panels import ABSENT

ClauseKind = Literal["", "service", "gpus", "place", "pair", "evidence", "time", "minute", "moment"]


class Clause(NamedTuple):
    """A part of a text.

    kind: what it names: a service, GPUs, a host, target, or pool, a pair of affected service and noisy neighbor, the
    evidence on the page, a time to the second or minute, a moment, which has its day; "" for the words between.
    services, gpus: their names. at: Unix seconds.
    """

    text: str
    kind: ClauseKind = ""
    services: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    at: float | None = None


Text = tuple[Clause, ...]

_BETWEEN_NAMES = re.compile(r"( -> | waiting on | waits on | on |, )")
NO_CLUSTER = f" ({ABSENT['cluster']})"
"""After a name that has none, where the name before it has one."""


def text(*parts: str | Service | Clause | Text) -> Text:
    """Clauses from words, services and clauses, in the order given; words that follow each other become one clause."""
    clauses: list[Clause] = []
    for clause in _clauses(parts):
        if clauses and not clause.kind and not clauses[-1].kind:
            clauses[-1] = Clause(clauses[-1].text + clause.text)
        elif clause.text:
            clauses.append(clause)
    return tuple(clauses)


def filled(template: str, **values: str | int | Service | Clause | Text) -> Text:
    """A text of the catalog with values for its names in braces: `{service} is at risk`."""
    parts = (values[part] if i % 2 else part for i, part in enumerate(re.split(r"\{(\w+)\}", template)))
    return text(*(str(part) if isinstance(part, int) else part for part in parts))


def filled_text(template: str, **values: str | int | Service | Clause | Text) -> str:
    """The same as one text."""
    return joined_text(filled(template, **values))


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


def joined(texts: Iterable[Service | Clause | Text], separator: str = " and ") -> Text:
    """Services, other names, or texts, with a separator between them."""
    parts = [part for item in texts for part in (separator, item)]
    return text(*parts[1:])


def listed(names: Sequence[Service | Clause], most: int = 3) -> Text:
    """`a, b, c and 2 more`: up to `most` names, and the number of the others."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return text(joined(names[:most], ", "), more)


def place(name: str) -> Clause:
    """A host, target, or pool."""
    return Clause(name, "place")


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


def with_clusters(clauses: Text, cluster: str = "") -> Text:
    """A text whose names say their cluster: `shop/cart in eu is degraded. Suspected cause: shop/db, llm/chat in us`.

    A name says it where the name before it is in another cluster; the first one, where it is not in `cluster`, which
    the reader knows. Where there are no several clusters, no text changes.
    """
    parts: list[Clause] = []
    for clause in clauses:
        names = clause.services or clause.gpus or ((clause.text,) if clause.kind == "place" else ())
        clusters = sorted({split_cluster(name)[0] for name in names})
        words = clause.text
        for one in sorted(filter(None, clusters), key=len, reverse=True):  # one may be the end of another's name
            words = words.replace(f"{one}{CLUSTER_MARK}", "")
        parts.append(clause._replace(text=words, kind="" if clause.kind == "place" else clause.kind))
        is_named = words != clause.text or words in names
        if is_named and clusters != [cluster]:
            parts.append(Clause(f" in {' and '.join(filter(None, clusters))}" if any(clusters) else NO_CLUSTER))
            cluster = clusters[0] if len(clusters) == 1 else CLUSTER_MARK
    return text(*parts)


def in_words(name: str | Service) -> str:
    """A name, or names, as a text has them: `cart in eu` of `eu//cart`, `a in eu -> b` of `eu//a -> eu//b`."""
    parts = _BETWEEN_NAMES.split(str(name))
    return joined_text(text(*(part if i % 2 else place(part) for i, part in enumerate(parts))))


def joined_text(clauses: Text, cluster: str = "") -> str:
    """The clauses as one text, with clusters; see `with_clusters`."""
    return "".join(clause.text for clause in with_clusters(clauses, cluster))


def in_sentence(label: str) -> str:
    """A label within a sentence: `overload`, `GPU contention`."""
    return label if label[:2].isupper() else f"{label[0].lower()}{label[1:]}"
