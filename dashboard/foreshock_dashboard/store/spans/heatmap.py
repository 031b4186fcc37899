"""All traces that match, counted by when they began and how long they took, without listing any."""

from __future__ import annotations

import math

import duckdb
import numpy as np

from foreshock_dashboard.model.span import TraceQuery
from foreshock_dashboard.model.trace_heatmap import Bins
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.store.blocks.block_store import Shelf
from foreshock_dashboard.store.errors import StoreError
from foreshock_dashboard.store.spans.conditions import Condition, lengths, matching, nanoseconds, picky, reach
from foreshock_dashboard.store.spans.rows import source
from foreshock_dashboard.store.spans.table import SpanTable

_IDS = ("trace_hi", "trace_lo")
_ROOT = Condition("root", {}, lambda part: part["root"])
_COUNTS = """
select
  least(greatest(floor((start_ns - $first) / $width), 0), $columns - 1)::int as x,
  least(greatest(floor((ln(greatest(end_ns - start_ns, 1)) - $shortest_ln) / $step), 0), $rows - 1)::int as y,
  count(*)
from ({roots})
where end_ns - start_ns between $least and $most {of_those}
group by x, y
"""
_OF_THOSE = "and (trace_hi, trace_lo) in (select trace_hi, trace_lo from ({hits}))"


def heat(
    shelf: Shelf[SpanTable], engine: duckdb.DuckDBPyConnection, keys: tuple[str, ...], query: TraceQuery, bins: Bins
) -> Floats:
    """As `HeatSource.heat`. A trace whose root span has not arrived is not in it."""
    conditions, began = matching(query, keys), matching(TraceQuery(query.start, query.end), keys)
    counts = np.zeros((bins.rows, bins.columns))
    some = picky(query)
    with shelf.reading(*reach(query)) as pieces, engine.cursor() as cursor:
        if not pieces.all():
            return counts
        roots = source(pieces, (*_IDS, "start_ns", "end_ns"), [*began, _ROOT], name="roots")
        hits = source(pieces, _IDS, conditions, name="hits")
        least, most = lengths(query)
        given = {
            "first": nanoseconds(bins.start),
            "width": (bins.end - bins.start) * 1e9 / bins.columns,
            "columns": bins.columns,
            "shortest_ln": math.log(bins.shortest * 1e9),
            "step": math.log(bins.longest / bins.shortest) / bins.rows,
            "rows": bins.rows,
            "least": least,
            "most": most,
        }
        sql = _COUNTS.format(roots=roots.sql, of_those=_OF_THOSE.format(hits=hits.sql) if some else "")
        try:
            for each in (roots, hits) if some else (roots,):
                given |= each.given
                for name, columns in each.memory.items():
                    cursor.register(name, columns)
            for x, y, count in cursor.execute(sql, given).fetchall():
                counts[y, x] = count
        except duckdb.Error as error:
            raise StoreError(f"store {shelf.root}: cannot read spans: {error}") from error
    return counts
