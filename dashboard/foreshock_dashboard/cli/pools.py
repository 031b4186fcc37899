"""`foreshock pools`: where tiers share GPUs, and how few GPUs each tier needs."""

from __future__ import annotations

import argparse
import json
from collections import deque
from pathlib import Path

from foreshock_dashboard.cli.hub_client import add_source_flags, authorization_header, get, hub_url
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.recording.errors import RecordingError
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.replay.replay import worlds
from foreshock_dashboard.web.state.lists import pools

POOLS = """\
Lists the GPUs on which services of different tiers meet, and the fewest GPUs that carry each tier with its bursts. The
tier of a service is what the hub's --tiers says, else service_tier_info; its namespace where neither says any tier.

  foreshock pools                          of what a running hub has seen in the last hours
  foreshock pools --recording incident     of a recording"""
TOLD = frozenset({"tiers", "mixed"})
"""What a hub's answer has."""
MOST = 20
"""GPUs that are listed; --json has all."""


def add_pools_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the command."""
    add_source_flags(parser)
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")


def run_pools(arguments: argparse.Namespace) -> int:
    """List pools. 0: listed.

    Raises:
        SettingsError: the address is none.
        SourceError: the hub does not answer, or the recording cannot be read.
    """
    hub, who, folder = hub_url(arguments), authorization_header(arguments), arguments.recording
    told = look_up(Path(folder)) if folder else get(hub, "/api/pools", TOLD, who)
    print(json.dumps(told, indent=1) if arguments.json else pools_text(told))
    return 0


def look_up(folder: Path) -> Json:
    """What a recording shows, all of it; its last hours where it is long.

    Raises:
        SourceError: it cannot be read.
    """
    with Recording(folder) as recording:
        newest = deque((world for world, _ in worlds(recording)), maxlen=1)
    if not newest:
        raise RecordingError(f"recording {folder}: there is no grid point in it; it is too short")
    return dict(pools(newest[0]))


def pools_text(told: Json) -> str:
    """For people."""
    if not told["tiers"]:
        return "No services are seen on GPUs: nothing can be said of pools."
    lines = [f"{'tier':<20} {'GPUs':>5} {'shared':>7} {'load':>6} {'safe':>6} {'needed':>7}"]
    for row in told["tiers"]:
        name = row["tier"] or "(none)"
        lines.append(
            f"{name:<20} {row['gpus']:>5} {row['shared']:>7} {row['load']:>6.1f} {row['safe_ratio']:>6.0%}"
            f" {row['needed']:>7}  {'for its memory' if row['by'] == 'memory' else ''}".rstrip()
        )
    mixed = told["mixed"]
    lines += ["", f"{len(mixed)} GPUs are shared by several tiers{':' if mixed else '.'}"]
    for row in mixed[:MOST]:
        tiers = "; ".join(f"{tier or '(none)'}: {', '.join(who)}" for tier, who in row["tiers"].items())
        lines.append(f"  {row['gpu']}{' of pool ' + row['pool'] if row['pool'] else ''}  {tiers}")
    if len(mixed) > MOST:
        lines.append(f"  and {len(mixed) - MOST} more")
    return "\n".join(lines)
