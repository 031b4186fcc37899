"""Attributes that are decoded as soon as a span arrives: those for searching, pairing and counting."""

from __future__ import annotations

from collections.abc import Iterable

from foreshock_dashboard.ingest.otlp import gen_ai
from foreshock_dashboard.ingest.otlp.attribute_reader import MAX_VALUES_PER_KEY, AttributeReader
from foreshock_dashboard.ingest.service_graph import call_sides


def attribute_reader(searchable: Iterable[str], max_values_per_key: int = MAX_VALUES_PER_KEY) -> AttributeReader:
    """Return a reader of the attributes that the store searches by, and of those that pairing and counting need.

    HTTP status codes are read like searchable attributes, since nearly all SERVER spans have one.
    """
    return AttributeReader(
        {*searchable, *call_sides.HTTP_CODES},
        call_keys=call_sides.CLIENT_KEYS,
        trigger_keys=gen_ai.MEASURED | call_sides.SERVER_KEYS,
        triggered_keys=gen_ai.KEYS,
        max_values_per_key=max_values_per_key,
    )
