"""Random damage to every file of a store, killed or closed: it opens, and what is missing is counted."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path

from tests.store.faults.contents import (
    Acknowledged,
    journal_problems,
    note,
    open_journal,
    open_store,
    problems,
    scrape,
    spans,
)

from foreshock_dashboard.store import StoreError

REQUESTS = 16
UNDETECTABLE = "not detected, as an unfinished append"
"""Damage to SQLite's journal that looks like a power loss amid the last transaction, or removes its end."""
_OPERATIONS = ("flip", "flip", "cut", "zero tail", "zero page", "overwrite", "empty", "delete")


def make_stores(folder: Path) -> dict[str, Path]:
    """Make a store with blocks of two levels and records in the WAL; return it as killed, and as closed."""
    store = open_store(folder / "closed")
    journal = open_journal(folder / "closed")
    for n in range(REQUESTS):
        note(journal, n)
        store.append_samples([scrape(n)])
        store.append_spans(spans(n))
        if n < REQUESTS - 5:
            store.maintain()
    shutil.copytree(store.path, folder / "killed")
    journal.close()
    store.close()
    return {name: folder / name for name in ("closed", "killed")}


def run(count: int, stores: Mapping[str, Path], seed: int = 1) -> Counter[tuple[str, str]]:
    """Damage a file of a store of `make_stores` `count` times. Return the number of each (kind of file, outcome)."""
    chance, found = random.Random(seed), Counter[tuple[str, str]]()
    by_kind: dict[tuple[str, str], list[Path]] = {}
    for state, pristine in stores.items():
        for path in sorted(pristine.rglob("*")):
            if path.is_file() and path.stat().st_size and path.name != "lock" and not path.name.endswith("-shm"):
                by_kind.setdefault((path.name, state), []).append(path)
    kinds = sorted(by_kind)
    for number in range(count):
        kind, state = kinds[number % len(kinds)]
        damaged = stores[state].with_name("damaged")
        shutil.rmtree(damaged, ignore_errors=True)
        shutil.copytree(stores[state], damaged)
        path = chance.choice(by_kind[kind, state]).relative_to(stores[state])
        _damage(damaged / path, chance.choice(_OPERATIONS), chance)
        found[kind, _outcome(damaged, kind)] += 1
    return found


def _damage(path: Path, operation: str, chance: random.Random) -> None:
    data = bytearray(path.read_bytes())
    at = chance.randrange(len(data))
    match operation:
        case "flip":
            data[at] ^= 1 << chance.randrange(8)
        case "cut":
            del data[at:]
        case "zero tail":
            data[at:] = bytes(len(data) - at)
        case "zero page":
            at -= at % 4_096
            data[at : at + 4_096] = bytes(len(data[at : at + 4_096]))
        case "overwrite":
            data[at : at + 64] = chance.randbytes(len(data[at : at + 64]))
        case "empty":
            data.clear()
        case "delete":
            path.unlink()
            return
    path.write_bytes(data)


def _outcome(folder: Path, kind: str) -> str:
    everything = Acknowledged({*range(REQUESTS)}, {*range(REQUESTS)}, {*range(REQUESTS)})
    with ExitStack() as opened:
        try:
            store = opened.enter_context(closing(open_store(folder)))
            journal = opened.enter_context(closing(open_journal(folder)))
        except StoreError as error:
            return "refused as another format" if "use the version that wrote it" in str(error) else f"refused: {error}"

        def found() -> list[str]:
            return problems(store, everything, everything.end) + journal_problems(journal, everything)

        for _ in range(2):
            wrong = [problem for problem in found() if "lost" not in problem]
            if wrong:
                return ", ".join(wrong)
            for _ in range(8):
                store.maintain()  # verifies all blocks
        lost, counted = found(), store.stats().corrupt or journal.stats().recovery
        if lost and not counted:
            return UNDETECTABLE if kind.endswith("-wal") else "undetected loss"
        return ("lost" if lost else "nothing lost") + (", counted" if counted else "")
