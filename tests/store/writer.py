"""A process that appends until it is killed and prints each acknowledged number; used by test_store_kill."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.store import Store, StoreLimits

T0 = 1_790_000_000
LIMITS = StoreLimits(block_bytes=2_000, duckdb_threads=1)


def scrape(n: int) -> SampleBatch:
    return SampleBatch(T0 + n * 10, "t", tuple(Sample("m", labels_of({"pod": pod}), float(n)) for pod in "abc"))


def spans(n: int) -> list[Span]:
    start = (T0 + n) * 10**9
    return [
        Span(f"{n:032x}", f"{k:016x}", "", "op", "server", start, start + 10**6, "unset", "", {"service.name": "s"}, {})
        for k in range(1, 4)
    ]


def main() -> None:
    folder, first = Path(sys.argv[1]), int(sys.argv[2])
    store = Store.open(folder, now=lambda: float(T0), limits=LIMITS)

    def maintain() -> None:
        while True:
            store.maintain()
            time.sleep(0.001)

    def append(offset: int) -> None:
        for n in range(first + offset, first + 1_000_000, 2):
            store.append_samples([scrape(n)])
            os.write(1, f"m {n}\n".encode())
            store.append_spans(spans(n))
            os.write(1, f"s {n}\n".encode())

    threading.Thread(target=maintain, daemon=True).start()
    other = threading.Thread(target=append, args=(1,), daemon=True)
    other.start()
    append(0)


if __name__ == "__main__":
    main()
