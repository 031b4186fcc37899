"""Writes a `TraceQuery` in TraceQL. All values are written as literals, so that no value can change the query.

Source: Tempo's "TraceQL" documentation and lexer. Texts are in double quotes with Go's escapes; attribute keys are in
double quotes with `\\"` and `\\\\` as their only escapes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from foreshock_dashboard.model.span import EXPORTER_NAME, OCCUPANCY_NAME, TraceQuery

_LAST_NS = 2**63 - 1
_LAST_SECOND = 2**32 - 2
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-/]*")
_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")
_FLOAT = re.compile(r"-?(0|[1-9]\d{0,99})\.\d{1,99}")
_SELECTED = "name, resource.service.name, resource.service.namespace"


def traceql(query: TraceQuery, longer_than: int | None = None, *, roots: bool = False) -> str:
    """Return a query that selects the matching spans with their names and services; the time range is not part of it.

    A service without a namespace is matched by name: older versions cannot express that an attribute is missing.

    Args:
        query: the conditions.
        longer_than: nanoseconds that a duration must exceed.
        roots: whether to find only traces with a root span, return that span, too, and apply the conditions on
            durations to it (Tempo 2.5). Else they apply to any span.

    Raises:
        ValueError: an attribute key cannot be written in TraceQL.
    """
    sets = [list(_conditions(query)) or ["true"], list(_min_durations(query, longer_than)) or ["true"]]
    if roots:
        longest = query.max_duration
        max_durations = [] if longest is None else [f"duration <= {nanoseconds(longest)}ns"]
        sets[1] = ["nestedSetParent < 0", *_min_durations(query, longer_than), *max_durations]
    spans = " && ".join(f"{{ {' && '.join(conditions)} }}" for conditions in sets)
    selected = f"select({_SELECTED}{', nestedSetParent' if roots else ''})"
    return f"{spans} | {selected}{' with (most_recent=true)' if query.order == 'newest' else ''}"


def service_query(name: str) -> str:
    """Return a query for all spans of services with this name."""
    return f"{{ resource.service.name = {string_literal(name)} }}"


def _conditions(query: TraceQuery) -> list[str]:
    conditions = []
    if query.service is not None:
        conditions.append(f"resource.service.name = {string_literal(query.service.name)}")
        if query.service.namespace:
            conditions.append(f"resource.service.namespace = {string_literal(query.service.namespace)}")
    if query.operation is not None:
        conditions.append(f"name = {string_literal(query.operation)}")
    conditions += [_attribute(key, value) for key, value in query.attributes.items()]
    if query.status is not None:
        conditions.append(f"status = {query.status}")
    if (
        not query.occupancy
        and query.operation is None
        and (query.service is None or query.service.name == EXPORTER_NAME)
    ):
        conditions.append(
            f"(name != {string_literal(OCCUPANCY_NAME)} || resource.service.name != {string_literal(EXPORTER_NAME)})"
        )
    return conditions


def _min_durations(query: TraceQuery, longer_than: int | None) -> Iterator[str]:
    if query.min_duration is not None:
        yield f"duration >= {nanoseconds(query.min_duration)}ns"
    if longer_than is not None:
        yield f"duration > {min(longer_than, _LAST_NS)}ns"


def _attribute(key: str, value: str) -> str:
    """Return a condition on an attribute, as text and as the number or Boolean that is written like it.

    TraceQL compares only values of equal type.
    """
    literals = [string_literal(value)]
    if value in ("true", "false") or _INTEGER.fullmatch(value) or _FLOAT.fullmatch(value):
        literals.append(value)
    alternatives = [f"{scope}.{_key(key)} = {literal}" for scope in ("span", "resource") for literal in literals]
    return f"({' || '.join(alternatives)})"


def _key(key: str) -> str:
    if _PLAIN_KEY.fullmatch(key):
        return key
    if not key or not key.isprintable():
        raise ValueError(f"attribute {key!r}: Tempo can look for keys of printable characters only")
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


def string_literal(value: str) -> str:
    """Return a literal in printable ASCII, with other characters escaped as in Go. A lone surrogate becomes `?`."""
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
    """Return whole nanoseconds, limited to the range of Tempo's durations."""
    return max(0, min(_LAST_NS, round(min(seconds, 1e10) * 1e9)))


def whole_seconds(query: TraceQuery) -> tuple[int, int]:
    """Return whole Unix seconds around the range of a query; never an empty range, which Tempo refuses."""
    start = min(max(0, math.floor(query.start)), _LAST_SECOND)
    return start, max(start + 1, min(math.ceil(query.end), _LAST_SECOND + 1))
