"""A disk whose n-th write, sync, open, read or rename fails, and all after it, under a store that works on."""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from tests.hub.hostile.disk import NAME, OPEN, READ, SYNC, WRITE, Disk
from tests.store.faults.contents import T0, Acknowledged, Problem, open_store, problems, scrape, spans

from foreshock_dashboard.model.query import Query, SourceError
from foreshock_dashboard.store import Store, StoreError

FAULTS = (
    (errno.ENOSPC, WRITE),
    (errno.EIO, WRITE | SYNC | NAME),
    (errno.EIO, SYNC),
    (errno.EIO, READ),
    (errno.EROFS, WRITE | SYNC | NAME),
    (errno.EMFILE, OPEN),
)
LONGEST = 120
"""Calls that go well before the first failure, at most."""


def run(count: int, folder: Path, seed: int = 1) -> Counter[Problem]:
    """Let the disk fail `count` times. Return how often each problem was found; "ok" without one.

    "hit": how often a call failed; else fewer calls were made than the disk had good ones left.
    """
    hit = 0
    chance, found, acknowledged = random.Random(seed), Counter[Problem](), Acknowledged()
    store = folder / "store"
    folder.mkdir(exist_ok=True)
    disk = Disk(store, folder)
    command = [sys.executable, "-m", "tests.store.faults.failing_disk", str(store)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env={**os.environ, **disk.environment}, text=True, **pipes) as process:
        numbers = iter(range(10 * count))

        def step(name: str) -> dict[str, Any]:
            n = next(numbers)
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{name} {n}\n")
            process.stdin.flush()
            answer: dict[str, Any] = json.loads(process.stdout.readline())
            acknowledged.scrapes |= {n} if answer["m"] else set()
            acknowledged.traces |= {n} if answer["s"] else set()
            return answer

        for number in range(count):
            disk.fail(FAULTS[number % len(FAULTS)][0], chance.randrange(LONGEST), FAULTS[number % len(FAULTS)][1])
            failing = [step("reopen" if chance.random() < 0.2 else "use") for _ in range(3)]
            hit += disk.repair() > 0
            recovered = [step("use") for _ in range(2)][-1]
            problem = next((answer["unexpected"] for answer in [*failing, recovered] if answer["unexpected"]), "")
            if not (recovered["m"] and recovered["s"] and recovered["ready"] and recovered["read"]):
                problem = problem or f"no recovery: {recovered}"
            found[problem or "ok"] += 1
        process.kill()
    disk.close()
    opened = open_store(store)
    found.update(problems(opened, acknowledged, next(numbers)))
    if opened.stats().corrupt or [*(store / "damaged").iterdir()]:
        found["sound data was set aside"] += 1
    opened.close()
    return found + Counter(hit=hit)


class User:
    """Uses a store; opens it whenever it is not open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store: Store | None = None
        self.unexpected = ""

    def step(self, name: str, n: int) -> dict[str, object]:
        """Append request n, maintain, and read."""
        self.unexpected = ""
        if name == "reopen" and self.store is not None:
            store, self.store = self.store, None
            self._tries(store.close)
        if self.store is None and not self._tries(self._open):
            return self._answer()
        opened = self.store
        assert opened is not None
        kept_scrape = self._tries(lambda: opened.append_samples([scrape(n)]))
        kept_spans = self._tries(lambda: opened.append_spans(spans(n)))
        opened.maintain()
        read = self._tries(lambda: opened.fetch(Query("m"), T0, T0 + 100, 10)) and self._tries(
            lambda: opened.get(f"{n:032x}")
        )
        opened.stats()
        return self._answer(m=kept_scrape, s=kept_spans, ready=opened.ready()[0], read=read)

    def _open(self) -> None:
        self.store = open_store(self.folder)

    def _tries(self, action: Callable[[], object]) -> bool:
        """Return whether an action succeeds. A refusal with a sentence is expected, any other error is not."""
        try:
            action()
        except (StoreError, SourceError):
            return False
        except Exception as error:  # noqa: BLE001 - reported
            self.unexpected = repr(error)
            return False
        return True

    def _answer(
        self, *, m: bool = False, s: bool = False, ready: bool = False, read: bool = False
    ) -> dict[str, object]:
        return {"m": m, "s": s, "ready": ready, "read": read, "unexpected": self.unexpected}


def main(requests: IO[str], answers: IO[str]) -> None:
    """Answer each line `STEP NUMBER` with a line of JSON."""
    user = User(Path(sys.argv[1]))
    for line in requests:
        name, number = line.split()
        print(json.dumps(user.step(name, int(number))), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.stdin, sys.stdout)
