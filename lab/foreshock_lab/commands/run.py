"""`run`: one system for some minutes, and a recording of it."""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from foreshock_lab.system.system import System
from foreshock_lab.topology.draw import draw


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's options."""
    parser = commands.add_parser("run", help="run one system without faults, and record it")
    parser.add_argument("--seed", type=int, default=0, help="seed of topology and load (default: 0)")
    parser.add_argument("--minutes", type=float, default=2.0, help="duration of the recording (default: 2)")
    parser.add_argument("--folder", type=Path, help="folder for logs (default: a temporary one)")
    parser.add_argument("--output-dir", type=Path, help="recording folder to create")
    parser.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Run a system, print what it used, and record it."""
    topology = draw(options.seed)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="foreshock-lab-"))
    began = time.monotonic()
    try:
        with System(topology, folder) as system:
            print(f"{topology.name}: {len(topology.services)} services ready after {time.monotonic() - began:.0f} s")
            start, before = time.time(), system.cpu_seconds()
            time.sleep(options.minutes * 60)
            end, after = time.time(), system.cpu_seconds()
            requests = system.user_requests(start, end)
            for name, seconds in sorted(after.items(), key=lambda item: -item[1] + before[item[0]]):
                print(f"{name:<20} {(seconds - before[name]) / (end - start):6.3f} cores")
            print(
                f"{'sum':<20} {sum(after.values()) / (end - start) - sum(before.values()) / (end - start):6.3f} cores"
            )
            failed = sum(not item.succeeded for item in requests)
            print(f"{len(requests)} requests of users, {failed} failed; {len(system.incidents())} incidents")
            if options.output_dir:
                system.record(options.output_dir, start, end, {"kind": "none", "topology": topology.name})
    finally:
        if options.folder is None:
            shutil.rmtree(folder, ignore_errors=True)
    return 0
