"""Loss and delay of real packets, in a network namespace."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MISSING = [program for program in ("unshare", "nft", "iptables", "ip") if shutil.which(program) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}"),
]


def probed(kind: str, amount: float) -> dict[str, Any]:
    """What a client measured under a fault."""
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable]
    done = subprocess.run(
        [*command, "-m", "tests.lab.network_probe", kind, str(amount)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "lab")])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if done.stderr.startswith("unshare:") or "CalledProcessError" in done.stderr:
        pytest.skip(f"no {kind} on this kernel: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def test_each_packet_to_a_service_is_delayed() -> None:
    """Also in connections that are open already, and no longer once the fault ends."""
    measured = probed("packet-delay", 0.05)

    assert measured["before"] < 0.05 <= measured["during"]
    assert measured["after"] < 0.05


def test_lost_packets_are_sent_again() -> None:
    """Nothing is lost for the application, and nothing more once the fault ends."""
    measured = probed("packet-loss", 0.08)

    assert measured["sent again"] > 0
    assert measured["after"] < 0.05
