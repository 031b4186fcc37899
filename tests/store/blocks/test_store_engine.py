"""The DuckDB engine of a store."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import duckdb

from foreshock_dashboard.store import Store

PROGRAM = """
import sys
from pathlib import Path
from foreshock_dashboard.store.blocks.duckdb_engine import connect
print(connect(Path(sys.argv[1]), "64MB", 1).execute("select current_setting('enable_progress_bar')").fetchone()[0])
"""


def test_a_long_query_draws_no_progress_bar(tmp_path: Path) -> None:
    """DuckDB draws one in programs without a main file, such as the worker processes of the evaluation."""
    process = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=True)
    assert process.stdout == "False\n"


def test_a_running_query_does_not_keep_a_store_from_closing(tmp_path: Path) -> None:
    """DuckDB refuses to close then. The folder is free all the same, and the hub ends without a traceback."""
    started, ended = threading.Event(), threading.Event()

    def wait(value: int) -> int:
        started.set()
        ended.wait(30)
        return value

    def run() -> None:
        with suppress(duckdb.Error):  # interrupted
            cursor.execute("select wait(1)")

    store = Store.open(tmp_path, now=time.time)
    with store._engine.cursor() as cursor:
        cursor.create_function("wait", wait, ["BIGINT"], "BIGINT")
        query = threading.Thread(target=run)
        query.start()
        try:
            assert started.wait(30)
            store.close()
            Store.open(tmp_path, now=time.time).close()
        finally:
            ended.set()
            query.join()
