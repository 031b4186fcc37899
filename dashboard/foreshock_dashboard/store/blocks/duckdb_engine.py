"""DuckDB in memory, hardened: it reaches no file but the store's, loads nothing, and cannot be talked out of either."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb


def connect(
    folder: Path, memory_limit: str, threads: int, also: Sequence[Path] = (), *, spill: str = ""
) -> duckdb.DuckDBPyConnection:
    """Open an in-memory database that may read and write below `folder`, and below the folders `also`, only.

    `memory_limit` bounds DuckDB's buffers; past it, data is spilled to `folder`/tmp, `spill` of it at most, or else as
    much as the disk has room for.
    """
    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": memory_limit,
            "threads": threads,
            "temp_directory": str(folder / "tmp" / "spill"),
            **({"max_temp_directory_size": spill} if spill else {}),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "python_enable_replacements": False,
            "allocator_background_threads": True,  # else what one COPY or merge took is kept for the next
        },
    )
    connection.execute("set enable_progress_bar = false")  # it would draw into what a command prints
    connection.execute("set allowed_directories = $folders", {"folders": [f"{each}/" for each in (folder, *also)]})
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    return connection


def rows_of(copied: duckdb.DuckDBPyConnection) -> int:
    """How many rows a COPY wrote."""
    found = copied.fetchone()
    return int(found[0]) if found else 0
