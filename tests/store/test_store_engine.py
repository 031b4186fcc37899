"""The DuckDB engine of a store."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import duckdb
import numpy as np

from foreshock_dashboard.store import Store
from foreshock_dashboard.store.blocks.duckdb_engine import connect
from foreshock_dashboard.store.samples.format import _MERGE, _WRITE, SAMPLE_COLUMNS

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


def test_blocks_are_cut_and_merged_without_hash_joins(tmp_path: Path) -> None:
    """Of each, DuckDB keeps 4 KB: a hub would grow by half a MiB per hour."""
    block, merged = str(tmp_path / "block.parquet"), str(tmp_path / "merged.parquet")
    columns = ", ".join(f"{name} {sql_type}" for name, sql_type in SAMPLE_COLUMNS.items())
    ids = np.array([1, 0], np.int32)
    with connect(tmp_path, "64MB", 1) as engine:
        engine.execute(f"create table head ({columns})")
        engine.execute("insert into head values (0, 1, 10, 5), (0, 0, 10, 6), (0, 1, 5, 7)")
        engine.register("remap", {"place": np.arange(1, 3), "new": ids})
        written = {"table": "head", "out": block}
        combined = {"files": [block], "bases": [0], "out": merged}
        for statement, parameters in ((_WRITE, written), (_MERGE, combined)):
            (plan,) = engine.execute(f"explain {statement}", parameters).fetchall()
            assert "cross product" in plan[1].lower()
            assert "join" not in plan[1].lower()
            engine.execute(statement, parameters).fetchall()
        rows = engine.execute("select * from read_parquet($file)", {"file": merged}).fetchall()
    assert rows == [(0, 10, 6), (1, 5, 7), (1, 10, 5)]


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
