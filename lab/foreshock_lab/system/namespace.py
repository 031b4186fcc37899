"""Namespaces of a run: its own loopback interface, mounts, and process ids, which all end with it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

VARIABLE = "FORESHOCK_LAB_NAMESPACE"
_UNSHARE = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


def enter(arguments: Sequence[str]) -> None:
    """Replace this process by `python -m foreshock_lab ARGUMENTS` in namespaces of its own; return if it is there.

    Signals reach it as before; when it ends, the kernel ends everything that it started.

    Raises:
        OSError: not root, or no `unshare`.
    """
    if os.environ.get(VARIABLE):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    os.environ[VARIABLE] = "1"
    os.execvp(_UNSHARE[0], [*_UNSHARE, sys.executable, "-m", "foreshock_lab", *arguments])  # noqa: S606
