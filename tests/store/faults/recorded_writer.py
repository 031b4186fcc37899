"""The process whose operations are recorded: it appends, cuts and compacts, and marks each acknowledgment on stderr."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.store.faults.contents import note, open_journal, open_store, scrape, spans

from foreshock_dashboard.store.journal import JOURNAL_FILE
from foreshock_dashboard.store.wal import WAL_FILE


def main() -> None:
    """Append `count` requests from number `first` on."""
    folder, first, count, damaged = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "damaged"
    if damaged:  # a fault that hits no record
        for name in (WAL_FILE, JOURNAL_FILE):
            file = os.open(folder / name, os.O_RDWR)
            os.pwrite(file, bytes(16), 0)
            os.fsync(file)
    store = open_store(folder)
    journal = open_journal(folder)
    for n in range(first, first + count):
        store.append_samples([scrape(n)])
        os.write(2, f"m {n}\n".encode())
        store.append_spans(spans(n))
        os.write(2, f"s {n}\n".encode())
        note(journal, n)
        os.write(2, f"j {n}\n".encode())
        if n % 3:
            store.maintain()
    os._exit(0)  # as if killed


if __name__ == "__main__":
    main()
