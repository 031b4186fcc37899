"""`foreshock pools`: lists GPUs shared by several tiers, and the fewest GPUs of each tier."""

from __future__ import annotations

import argparse
import json
from collections import deque
from pathlib import Path

import orjson

from foreshock_dashboard.cli.commands import Command
from foreshock_dashboard.cli.hub_client import add_source_flags, hub_or_recording
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.recording.meta import RecordingError
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.replay.replay import worlds
from foreshock_dashboard.web.state.lists import pools

DESCRIPTION = """\
Lists the GPUs on which services of different tiers meet, and the fewest GPUs that carry each tier with its bursts. The
tier of a service is what the hub's --tiers says, else service_tier_info; its namespace where neither says any tier.

  foreshock pools                          of what a running hub has seen in the last hours
  foreshock pools --recording incident     of a recording"""
ANSWER_KEYS = frozenset({"tiers", "mixed"})
MAX_GPUS = 20
"""GPUs in the text; --json has all."""


def add_pools_flags(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    add_source_flags(parser)
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")


def run_pools(arguments: argparse.Namespace) -> int:
    """Print the pools; returns 0. Raises SettingsError for a flag, SourceError for the hub or the recording."""
    answer = hub_or_recording(arguments, "/api/pools", ANSWER_KEYS, pools_of_recording)
    print(json.dumps(answer, indent=1) if arguments.json else pools_text(answer))
    return 0


def pools_of_recording(folder: Path) -> Json:
    """The pools of a recording; of a long one, those of its last hours. Raises SourceError if it cannot be read."""
    with Recording(folder) as recording:
        newest = deque((world for world, _ in worlds(recording)), maxlen=1)
    if not newest:
        raise RecordingError(f"recording {folder}: there is no grid point in it; it is too short")
    answer: Json = orjson.loads(orjson.dumps(pools(newest[0])))
    return answer


def pools_text(answer: Json) -> str:
    """The pools as text."""
    if not answer["tiers"]:
        return "No services are seen on GPUs: nothing can be said of pools."
    lines = [f"{'tier':<20} {'GPUs':>5} {'shared':>7} {'load':>6} {'safe':>6} {'needed':>7}"]
    for row in answer["tiers"]:
        name = row["tier"] or "(none)"
        lines.append(
            f"{name:<20} {row['gpus']:>5} {row['shared']:>7} {row['load']:>6.1f} {row['safe_ratio']:>6.0%}"
            f" {row['needed']:>7}  {'for its memory' if row['by'] == 'memory' else ''}".rstrip()
        )
    mixed = answer["mixed"]
    lines += ["", f"{len(mixed)} GPUs are shared by several tiers{':' if mixed else '.'}"]
    for row in mixed[:MAX_GPUS]:
        tiers = "; ".join(f"{tier or '(none)'}: {', '.join(services)}" for tier, services in row["tiers"].items())
        lines.append(f"  {row['gpu']}{' of pool ' + row['pool'] if row['pool'] else ''}  {tiers}")
    if len(mixed) > MAX_GPUS:
        lines.append(f"  and {len(mixed) - MAX_GPUS} more")
    return "\n".join(lines)


COMMAND = Command(run_pools, add_pools_flags, DESCRIPTION)
