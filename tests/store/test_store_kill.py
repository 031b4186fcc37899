"""Acknowledged data survives `kill -9` at any moment, exactly once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from foreshock_dashboard.store import Store

if TYPE_CHECKING:
    from tests.store.conftest import Bench, Values


WRITER = Path(__file__).with_name("writer.py")


def run_until_killed(folder: Path, first: int, lines: int, delay: float) -> list[tuple[str, int]]:
    """Start a writer and kill it some time after `lines` acknowledgments. Return all acknowledgments."""
    command = [sys.executable, str(WRITER), str(folder), str(first)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    acknowledged: list[tuple[str, int]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            kind, number = line.split()
            acknowledged.append((kind, int(number)))
            if len(acknowledged) == lines:
                threading.Timer(delay, os.kill, (process.pid, signal.SIGKILL)).start()
    assert process.returncode == -signal.SIGKILL, "the writer ended by itself"
    return acknowledged


def check(store: Store, acknowledged: list[tuple[str, int]], first: int, values: Values) -> int:
    """Nothing acknowledged is missing, torn or duplicated. Return the first unused number."""
    end = max(number for _, number in acknowledged) + 4
    stored = values(store, end)
    assert {number for kind, number in acknowledged if kind == "m"} <= set(stored), "an acknowledged scrape is lost"
    assert all(column == [float(number)] * 3 for number, column in stored.items()), "a scrape is torn"
    traces = {number: store.get(f"{number:032x}") for number in range(first, end)}
    present = {number for number, spans in traces.items() if spans}
    assert {number for kind, number in acknowledged if kind == "s" and number >= first} <= present, (
        "acknowledged spans are lost"
    )
    assert all(len(traces[number]) == 3 for number in present), "a request is torn"
    assert rows(store, "_samples") == 3 * len(stored), "a scrape is duplicated"
    return end


def rows(store: Store, shelf: str) -> int:
    """Number of stored rows, duplicates included."""
    which: Any = getattr(store, shelf)
    return int(which.head.usage().rows + sum(meta.rows for meta in which.blocks()))


def rounds(count: int, folder: Path, reopen: Callable[[], Store], values: Values) -> None:
    chance = random.Random(count)
    acknowledged: list[tuple[str, int]] = []
    first = 0
    spans = 0
    for _ in range(count):
        acknowledged += run_until_killed(folder, first, chance.randint(1, 60), chance.random() * 0.2)
        store = reopen()
        end = check(store, acknowledged, first, values)
        present = sum(1 for number in range(first, end) if store.get(f"{number:032x}"))
        spans += 3 * present
        assert rows(store, "_spans") == spans, "spans are duplicated or lost"
        assert store.stats().corrupt == 0
        store.close()
        first = end


def test_kill_9_neither_loses_nor_duplicates_acknowledged_data(bench: Bench, values: Values) -> None:
    """Eight kills while two threads append and a third cuts and compacts blocks."""
    rounds(8, bench.path, bench.open, values)


@pytest.mark.soak
def test_300_kills_neither_lose_nor_duplicate_acknowledged_data(bench: Bench, values: Values) -> None:
    """The same for longer."""
    rounds(300, bench.path, bench.open, values)
