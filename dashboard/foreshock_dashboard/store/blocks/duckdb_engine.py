"""In-memory DuckDB that can reach only the store's files: no network, no extensions, locked configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb


def connect(
    folder: Path, memory_limit: str, threads: int, extra_folders: Sequence[Path] = (), *, max_spill: str = ""
) -> duckdb.DuckDBPyConnection:
    """Open an in-memory database that may read and write below `folder` and `extra_folders` only.

    Args:
        folder: data beyond the memory limit is spilled to its `tmp/spill`.
        memory_limit, max_spill: sizes in DuckDB's notation; max_spill "" means as much as the disk has room for.
        threads: threads of one query.
    """
    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": memory_limit,
            "threads": threads,
            "temp_directory": str(folder / "tmp" / "spill"),
            **({"max_temp_directory_size": max_spill} if max_spill else {}),
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
            "python_enable_replacements": False,
            "enable_external_file_cache": False,  # the page cache has the files already
            "allocator_bulk_deallocation_flush_threshold": "1MiB",  # by default, 512 MiB may be freed and kept
            "allocator_background_threads": True,  # without it, memory of a COPY or merge is not returned
        },
    )
    connection.execute("set enable_progress_bar = false")  # the bar would be drawn into a command's output
    allowed = [f"{path}/" for path in (folder, *extra_folders)]
    connection.execute("set allowed_directories = $folders", {"folders": allowed})
    connection.execute("set enable_external_access = false")
    connection.execute("set lock_configuration = true")
    return connection


def copied_rows(copy: duckdb.DuckDBPyConnection) -> int:
    """Number of rows that a COPY statement wrote."""
    row = copy.fetchone()
    return int(row[0]) if row else 0
