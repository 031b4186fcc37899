"""A hub's notifier as a process that a test may kill: `python -m tests.notify.process FOLDER INCIDENT...`."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from tests.notify.incidents import incident

from foreshock_dashboard.model.types import Json
from foreshock_dashboard.notify.notifier import Hooks, Notifier
from foreshock_dashboard.notify.timing import Timing
from foreshock_dashboard.store.outbox import Outbox
from foreshock_dashboard.store.outbox_file import OutboxFile


def main(folder: Path, names: list[str]) -> None:
    """Send the incidents to the channels of the folder, and print each one that the outbox has noted as sent."""

    def record(_: float, data: Json) -> None:
        print(data["incident"], flush=True)

    timing = Timing(time.time, time.monotonic, random.random, time.time)
    hooks = Hooks("https://hub.example.com", record=record)
    notifier = Notifier(Outbox(OutboxFile(folder)), folder / "channels", (), timing, hooks)
    notifier.start()
    if names:
        notifier.observe(tuple(incident(id=name) for name in names), complete=True)
    sys.stdin.read()  # until the test ends
    notifier.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
