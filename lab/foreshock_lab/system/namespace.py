"""Namespaces of a run: its own loopback interface, mounts, and process ids, which all end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

VARIABLE = "FORESHOCK_LAB_NAMESPACE"
_COMMAND = "setpriv --pdeathsig KILL unshare --net --mount --pid --fork --kill-child --mount-proc"


def enter(arguments: Sequence[str]) -> None:
    """Run `python -m foreshock_lab ARGUMENTS` in separate namespaces and exit as it does; return if this is inside.

    SIGINT and SIGTERM interrupt it once. However this process ends, the kernel ends everything that it started.

    Raises:
        OSError: no `unshare`, or no `setpriv`.
        SystemExit: the run has ended.
    """
    if os.environ.get(VARIABLE):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _interrupt)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    command = [*_COMMAND.split(), sys.executable, "-m", "foreshock_lab", *arguments]
    process = subprocess.Popen(command, env=os.environ | {VARIABLE: "1"}, process_group=0)

    def forward(number: int, _: FrameType | None) -> None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for child in children:  # `unshare` itself blocks signals
            os.kill(int(child), number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, forward)
    sys.exit(process.wait())


def _interrupt(*_: object) -> None:
    """Raise KeyboardInterrupt, and let the clean-up that follows end undisturbed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
