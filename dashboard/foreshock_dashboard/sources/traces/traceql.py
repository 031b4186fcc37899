"""`TraceQuery` → TraceQL. Values are literals of the language and can be nothing else.

Source: Tempo's "TraceQL" documentation and lexer. Text is in double quotes with Go's escapes; keys of attributes are in
double quotes with `\\"` and `\\\\` as their only escapes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import EXPORTER, OCCUPANCY, TraceQuery

_LAST_NS = 2**63 - 1
_LAST_SECOND = 2**32 - 2
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-/]*")
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")
_FLOAT = re.compile(r"-?(0|[1-9]\d{0,99})\.\d{1,99}")
_SELECTED = "name, resource.service.name, resource.service.namespace"


def traceql(query: TraceQuery, longer_than: int | None = None, *, roots: bool = False) -> str:
    """The spans that a query asks for, with their names and services; times are asked beside it.

    A service without a namespace is asked for by its name: older versions cannot ask for the absence of an attribute.

    Args:
        query: what is asked.
        longer_than: only what took more than this, nanoseconds.
        roots: only traces that have their root span, which is told beside the others and whose duration is asked for
            (Tempo 2.5); else all its spans are told, or those of them that took as long.

    Raises:
        ValueError: the attribute's key cannot be written in TraceQL.
    """
    sets = [list(_conditions(query)) or ["true"], list(_long(query, longer_than)) or ["true"]]
    if roots:
        most = query.max_duration
        longest = [] if most is None else [f"duration <= {nanoseconds(most)}ns"]
        sets[1] = ["nestedSetParent < 0", *_long(query, longer_than), *longest]
    spans = " && ".join(f"{{ {' && '.join(each)} }}" for each in sets)
    selected = f"select({_SELECTED}{', nestedSetParent' if roots else ''})"
    return f"{spans} | {selected}{' with (most_recent=true)' if query.order == 'newest' else ''}"


def service_query(name: str) -> str:
    """All spans of services of this name."""
    return f"{{ resource.service.name = {string_literal(name)} }}"


def _conditions(query: TraceQuery) -> list[str]:
    found = []
    if query.service is not None:
        found += _service(query.service)
    if query.operation is not None:
        found.append(f"name = {string_literal(query.operation)}")
    found += [_attribute(key, value) for key, value in query.attributes.items()]
    if query.status is not None:
        found.append(f"status = {query.status}")
    if not query.occupancy and query.operation is None and (query.service is None or query.service.name == EXPORTER):
        found.append(f"(name != {string_literal(OCCUPANCY)} || resource.service.name != {string_literal(EXPORTER)})")
    return found


def _long(query: TraceQuery, longer_than: int | None) -> Iterator[str]:
    if query.min_duration is not None:
        yield f"duration >= {nanoseconds(query.min_duration)}ns"
    if longer_than is not None:
        yield f"duration > {min(longer_than, _LAST_NS)}ns"


def _service(service: Service) -> list[str]:
    named = [f"resource.service.name = {string_literal(service.name)}"]
    return [*named, f"resource.service.namespace = {string_literal(service.namespace)}"] if service.namespace else named


def _attribute(key: str, value: str) -> str:
    """The value as text, and as the number or truth value that is written so: TraceQL compares equal types only."""
    literals = [string_literal(value)]
    if value in ("true", "false") or _INTEGER.fullmatch(value) or _FLOAT.fullmatch(value):
        literals.append(value)
    either = [f"{scope}.{_key(key)} = {literal}" for scope in ("span", "resource") for literal in literals]
    return f"({' || '.join(either)})"


def _key(key: str) -> str:
    if _PLAIN_KEY.fullmatch(key):
        return key
    if not key or not key.isprintable():
        raise ValueError(f"attribute {key!r}: Tempo can look for keys of printable characters only")
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


def string_literal(value: str) -> str:
    """A text literal of printable ASCII: everything else is escaped as in Go. A lone surrogate becomes `?`."""
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(character: str) -> str:
    point = ord(character)
    if character in ('"', "\\"):
        return f"\\{character}"
    if 0x20 <= point < 0x7F:
        return character
    if 0xD800 <= point <= 0xDFFF:
        return "?"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"


def nanoseconds(seconds: float) -> int:
    """Seconds in whole nanoseconds, within what Tempo's durations hold."""
    return max(0, min(_LAST_NS, round(min(seconds, 1e10) * 1e9)))


def whole_seconds(query: TraceQuery) -> tuple[int, int]:
    """Whole seconds around a query's range, since 1970; an empty range is refused by Tempo."""
    start = min(max(0, math.floor(query.start)), _LAST_SECOND)
    return start, max(start + 1, min(math.ceil(query.end), _LAST_SECOND + 1))
