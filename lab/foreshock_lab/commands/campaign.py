"""`campaign`: faults in one system after another, each in a recording with its truth."""

from __future__ import annotations

import argparse
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

from foreshock_lab.campaign.plan import HELD_OUT_SEED, PlannedFault, plan, split_of
from foreshock_lab.campaign.runner import HISTORY_SECONDS, Campaign
from foreshock_lab.faults.catalog import KINDS
from foreshock_lab.system.system import System
from foreshock_lab.topology.draw import draw

log = logging.getLogger(__name__)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's options."""
    parser = commands.add_parser("campaign", help="record faults in running systems, with their truth")
    add = parser.add_argument
    add("--split", choices=("dev", "heldout", "both"), default="both", help="default: both, in turns")
    add("--seed", type=int, default=1, help=f"first seed of dev; held-out adds {HELD_OUT_SEED} (default: 1)")
    add("--systems", type=int, default=1, help="number of systems, one after another (default: 1)")
    add("--minutes", type=float, default=240.0, help="time of each system (default: 240)")
    add("--history", type=float, default=HISTORY_SECONDS, help="healthy seconds before a fault (default: 180)")
    add("--kinds", type=lambda text: text.split(","), default=[], help="comma-separated (default: all)")
    add("--output-dir", type=Path, required=True, help="folder of the recordings, in dev/ and heldout/")
    add("--list", action="store_true", help="print the plan only")
    parser.set_defaults(command=campaign)


def campaign(options: argparse.Namespace) -> int:
    """Run a campaign; 1 if a system failed. Recordings that are there are skipped, so that it can be continued."""
    if unknown := set(options.kinds) - KINDS.keys():
        print(f"--kinds: no fault {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
        return 2
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    failed = False
    for seed in islice(_seeds(options.split, options.seed), options.systems):
        faults, out = plan(draw(seed), options.kinds), options.output_dir / split_of(seed)
        if options.list:
            print("\n".join(f"{fault.name}  {fault.service}" for fault in faults))
            continue
        out.mkdir(parents=True, exist_ok=True)
        try:
            _run(seed, faults, out, options)
        except Exception:  # outermost loop: the next system can run after any failure of one
            log.exception("system %d failed", seed)
            failed = True
    return 1 if failed else 0


def _run(seed: int, faults: list[PlannedFault], out: Path, options: argparse.Namespace) -> None:
    if all((out / fault.name).exists() for fault in faults):
        return
    folder = Path(tempfile.mkdtemp(prefix=f"foreshock-lab-{seed}-"))
    try:
        with System(draw(seed), folder / "system") as system:
            log.info("system %d is ready", seed)
            recorded = Campaign(system, out, options.history).run(faults, time.time() + 60 * options.minutes)
            log.info("system %d: %d recordings", seed, recorded)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _seeds(split: str, first: int) -> Iterator[int]:
    for seed in count(first):
        if split != "heldout":
            yield seed
        if split != "dev":
            yield HELD_OUT_SEED + seed
