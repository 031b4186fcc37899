"""`kill -9` of a process that appends, cuts and compacts blocks, recovers a damaged WAL, or upgrades a store of 0.1."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import threading
import time
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path

from tests.store.faults.contents import (
    OLD_REQUESTS,
    Acknowledged,
    Problem,
    journal_problems,
    note,
    open_journal,
    open_store,
    problems,
    scrape,
    spans,
    unpack_old_store,
)

from foreshock_dashboard.store.journal import JOURNAL_FILE
from foreshock_dashboard.store.wal import WAL_FILE

KILLS_PER_STORE = 40
"""Kills of a store before a new one is begun."""


def write(folder: Path, first: int, connection: Connection) -> None:
    """Append until killed: two threads append, a third one maintains. Each acknowledgment is sent."""

    def log(line: str) -> None:
        os.write(connection.fileno(), line.encode())

    log("begin\n")
    store = open_store(folder)
    journal = open_journal(folder)

    def maintain() -> None:
        while True:
            store.maintain()
            time.sleep(0.001)

    def append(offset: int) -> None:
        for n in range(first + offset, first + 1_000_000, 2):
            store.append_samples([scrape(n)])
            log(f"m {n}\n")
            store.append_spans(spans(n))
            log(f"s {n}\n")
            note(journal, n)
            log(f"j {n}\n")

    threading.Thread(target=maintain, daemon=True).start()
    threading.Thread(target=append, args=(1,), daemon=True).start()
    append(0)


def write_until_killed(folder: Path, first: int, lines: int, delay: float) -> str:
    """Start a writer and kill it some time after a number of lines. Return all of its lines."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.store.faults.kills"])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=write, args=(folder, first, sender), daemon=True)
    process.start()
    sender.close()
    received = b""
    with os.fdopen(os.dup(receiver.fileno()), "rb", buffering=0) as pipe:
        while received.count(b"\n") < lines and (data := pipe.read(65_536)):
            received += data
        time.sleep(delay)
        process.kill()
        while data := pipe.read(65_536):
            received += data
    process.join()
    receiver.close()
    if process.exitcode != -9:
        raise AssertionError(f"the writer ended by itself: {process.exitcode}")
    return received.decode().rpartition("\n")[0]


def run(count: int, folder: Path, seed: int = 1) -> Counter[Problem]:
    """Kill `count` writers. Return the number of kills after which each problem was found; "ok" without one.

    Every other store begins as one of 0.1. Before every fourth start, the headers of the WAL and of the journal are
    damaged, which hits no record: the writer is killed amid or after the recovery.
    """
    chance, found = random.Random(seed), Counter[Problem]()
    for number in range(count):
        if number % KILLS_PER_STORE == 0:
            shutil.rmtree(folder, ignore_errors=True)
            acknowledged, first = Acknowledged(), 0
            if number // KILLS_PER_STORE % 2:
                unpack_old_store(folder)
                acknowledged = Acknowledged({*range(OLD_REQUESTS)}, {*range(OLD_REQUESTS)})
                first = OLD_REQUESTS
        early = number % 2 == 0  # amid the opening
        for file in (folder / WAL_FILE, folder / JOURNAL_FILE):
            if number % 4 == 0 and file.exists():
                with file.open("r+b") as opened:
                    opened.write(bytes(16))
        lines, delay = (1, chance.random() * 0.06) if early else (chance.randint(2, 60), chance.random() * 0.1)
        acknowledged.read(write_until_killed(folder, first, lines, delay))
        store = open_store(folder)
        journal = open_journal(folder)
        end = max(first + 2, acknowledged.end)  # both threads may have been killed before their first acknowledgment
        for problem in [*problems(store, acknowledged, end), *journal_problems(journal, acknowledged)] or ["ok"]:
            found[problem] += 1
        journal.close()
        store.close()
        first = end
    return found
