"""What the fault tests store, and how they find what is missing.

Request n is a scrape, a trace, and an entry of the journal with number n.

The kept store of version 0.1 (`tests/kept`) holds the requests 0 to 9 of the same kind.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from foreshock_dashboard.model.query import Query
from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.model.span import Span, TraceQuery
from foreshock_dashboard.store import Journal, Store, StoreLimits

T0 = 1_790_000_000
LIMITS = StoreLimits(block_bytes=200, duckdb_threads=1)
"""Blocks are cut often, so that there are many to compact."""
OLD_REQUESTS = 10
KEPT = Path(__file__).parents[2] / "kept"
Problem = str


def scrape(n: int) -> SampleBatch:
    """Return the n-th scrape: three samples of the value n."""
    return SampleBatch(T0 + n * 10, "target", tuple(Sample("m", labels_of({"pod": pod}), float(n)) for pod in "abc"))


def spans(n: int) -> list[Span]:
    """Return the n-th trace: three spans."""
    start = (T0 + 10 * n) * 10**9
    return [
        Span(f"{n:032x}", f"{k:016x}", "", "op", "server", start, start + 10**6, "unset", "", {"service.name": "s"}, {})
        for k in range(1, 4)
    ]


def open_store(folder: Path) -> Store:
    """Open a store with small blocks."""
    return Store.open(folder, now=lambda: float(T0), limits=LIMITS)


def open_journal(folder: Path) -> Journal:
    """Open the journal of an open store."""
    return Journal(folder, now=lambda: float(T0))


def note(journal: Journal, n: int) -> None:
    """Append the n-th entry."""
    journal.append("incident", float(T0 + n), "dana", {"number": n})


def unpack_old_store(folder: Path, release: str = "0.1") -> None:
    """Unpack the kept store of a release as `folder`."""
    folder.parent.mkdir(exist_ok=True, parents=True)
    with tarfile.open(KEPT / release / "store.tar.xz") as archive:
        archive.extractall(folder.parent, filter="data")
    (folder.parent / f"store-{release}").rename(folder)


@dataclass
class Acknowledged:
    """Numbers of the requests that were acknowledged."""

    scrapes: set[int] = field(default_factory=set)
    traces: set[int] = field(default_factory=set)
    entries: set[int] = field(default_factory=set)

    def read(self, lines: str) -> None:
        """Add lines such as `m 3`, `s 3`, and `j 3`."""
        for line in lines.splitlines():
            match line.split():
                case ["m", n] if n.isdigit():
                    self.scrapes.add(int(n))
                case ["s", n] if n.isdigit():
                    self.traces.add(int(n))
                case ["j", n] if n.isdigit():
                    self.entries.add(int(n))

    @property
    def end(self) -> int:
        """A number beyond those of all requests, also of two that were not acknowledged."""
        return max(self.scrapes | self.traces, default=-1) + 5


def stored_scrapes(store: Store, count: int) -> dict[int, list[float]]:
    """Return the values of the stored scrapes below `count`, by number."""
    matrix = store.fetch(Query("m", window=5), T0, T0 + 10 * (count - 1), 10)
    columns = {n: column[~np.isnan(column)].tolist() for n, column in enumerate(matrix.values.T)}
    return {n: column for n, column in columns.items() if column}


def stored_traces(store: Store, count: int) -> dict[int, int]:
    """Return the number of spans of the stored traces, by number."""
    step = 900  # a search returns up to 1,000 traces
    queries = (TraceQuery(T0 + 10.0 * n - 1, T0 + 10.0 * (n + step) - 1, limit=1_000) for n in range(0, count, step))
    return {int(trace.trace_id, 16): trace.spans for query in queries for trace in store.search(query)}


def problems(store: Store, acknowledged: Acknowledged, end: int, *, whole: bool = True) -> list[Problem]:
    """Compare a store with what was acknowledged: nothing is missing, torn, wrong, or stored twice.

    `end`: no request has this number or a higher one. `whole`: nothing may be missing.
    """
    scrapes, traces = stored_scrapes(store, end), stored_traces(store, end)
    read = [n for n in traces if n % 5 == 0 or n >= end - 10]
    sample_rows = store.stats().head_samples + sum(meta.rows for meta in store._samples.blocks())
    checks: dict[Problem, Callable[[], bool]] = {
        "samples lost": lambda: whole and not acknowledged.scrapes <= scrapes.keys(),
        "spans lost": lambda: whole and not acknowledged.traces <= traces.keys(),
        "samples torn or wrong": lambda: any(column != [float(n)] * 3 for n, column in scrapes.items()),
        "spans torn": lambda: {*traces.values()} - {3} != set(),
        "spans wrong": lambda: any(not _is_trace(n, store.get(f"{n:032x}")) for n in read),
        "samples stored twice": lambda: sample_rows != 3 * len(scrapes),
        "spans stored twice": lambda: store.stats().spans != sum(traces.values()),
    }
    return [name for name, fails in checks.items() if fails()]


def journal_problems(journal: Journal, acknowledged: Acknowledged) -> list[Problem]:
    """Compare a journal with what was acknowledged."""
    entries = journal.read()
    numbers = [entry.data["number"] for entry in entries]
    checks: dict[Problem, bool] = {
        "entries lost": not acknowledged.entries <= {*numbers},
        "entries wrong": any((e.by, e.at) != ("dana", T0 + e.data["number"]) for e in entries),
        "entries stored twice": len(numbers) != len({*numbers}),
    }
    return [name for name, fails in checks.items() if fails]


def _is_trace(n: int, found: tuple[Span, ...]) -> bool:
    """Whether the spans are those of request n; those of 0.1 differ in their times."""
    return [span.span_id for span in found] == [f"{k:016x}" for k in range(1, 4)] and (
        n < OLD_REQUESTS or [span.start_ns for span in found] == [span.start_ns for span in spans(n)]
    )
