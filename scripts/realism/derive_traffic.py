"""Derives the simulator's small tables of traffic from public traces.

    python -m scripts.realism.derive_traffic --mooncake conversation_trace.jsonl.gz \
      --servegen servegen_rate_cv_traces.tar.gz

The tables are part of the package; this script checks or updates them.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import re
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

DATA = Path(__file__).parents[2] / "simulator" / "foreshock_simulator" / "data"
BATCH_MS = 3000
"""Time stamps of the trace are multiples of it, up to a millisecond."""
MODEL = "language/m-large"
DAY_INDEX = 13
"""Of fourteen days, the one whose quantiles of clients' CVs are nearest to those of all days (p50, p90, p99 within
6%)."""
WINDOWS_PER_DAY = 144
"""Windows of ten minutes in a day."""
COURSE_MODEL, COURSE_DAYS = "language/m-small", 9
"""Days of all clients of this model before the first gap of the trace."""
MAX_TABLE_BYTES = 60_000


def mooncake(path: Path) -> str:
    """Token counts of each request, and the batches of 3 s since the previous one."""
    lines, last = ["batches_later,prompt_tokens,generated_tokens"], 0
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        row = json.loads(line)
        batch = round(row["timestamp"] / BATCH_MS)
        lines.append(f"{batch - last},{row['input_length']},{row['output_length']}")
        last = batch
    return "\n".join(lines) + "\n"


def servegen(path: Path) -> str:
    """Rate, CV and family of each client of a model in its active windows of a day."""
    clients: dict[int, list[tuple[int, float, float, str]]] = {}
    for client, (start, rate, cv, family, *_) in _windows(path, MODEL):
        day, window = divmod(round(float(start)) // 600, WINDOWS_PER_DAY)
        if day == DAY_INDEX and float(rate) > 0.0:
            clients.setdefault(client, []).append((window, float(rate), float(cv), family))
    if not clients:
        raise ValueError(f"{path}: no client of {MODEL} in it")
    busiest = sorted(clients, key=lambda client: (-sum(rate for _, rate, *_ in clients[client]), client))
    lines = ["client,window,rate,cv,family"]
    for number, client in enumerate(busiest):
        lines += (
            f"{number},{window},{rate:.3g},{cv:.3g},{family.lower()[0]}" for window, rate, cv, family in clients[client]
        )
    return "\n".join(lines) + "\n"


def servegen_hours(path: Path) -> str:
    """Requests per second of all clients of a model, mean of each hour of its days without gaps."""
    rates = [[0.0] * 24 for _ in range(COURSE_DAYS)]
    for _, (start, rate, *_) in _windows(path, COURSE_MODEL):
        day, window = divmod(round(float(start)) // 600, WINDOWS_PER_DAY)
        if day < COURSE_DAYS:
            rates[day][window // 6] += float(rate) / 6
    if not any(map(any, rates)):
        raise ValueError(f"{path}: no client of {COURSE_MODEL} in it")
    lines = (f"{day},{hour},{rate:.4g}" for day, hours in enumerate(rates) for hour, rate in enumerate(hours))
    return "\n".join(["day,hour,rate", *lines]) + "\n"


def _windows(path: Path, model: str) -> Iterator[tuple[int, list[str]]]:
    """Number and windows of ten minutes of each client of a model."""
    with tarfile.open(path) as archive:
        for member in archive:
            match = re.fullmatch(rf"(?:\./)?data/{model}/chunk-(\d+)-trace\.csv", member.name)
            file = archive.extractfile(member) if match else None
            if match and file:
                yield from ((int(match[1]), row) for row in csv.reader(io.TextIOWrapper(file)) if row)


def main() -> int:
    """Write the tables of the given sources."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mooncake", type=Path, help="conversation_trace.jsonl.gz of kvcache-ai/Mooncake")
    parser.add_argument(
        "--servegen", type=Path, help="the CSVs of alibaba/ServeGen as tar.gz, data/MODEL/chunk-N-trace.csv"
    )
    parser.add_argument("--out", type=Path, default=DATA, help="folder (default: the package's data)")
    options = parser.parse_args()
    tables = {
        "mooncake_conversation": (options.mooncake, mooncake),
        "servegen_m_large_day": (options.servegen, servegen),
        "servegen_m_small_hours": (options.servegen, servegen_hours),
    }
    for name, (source, derive) in tables.items():
        if source is None:
            continue
        try:
            compressed = gzip.compress(derive(source).encode(), 9, mtime=0)
        except (OSError, ValueError, KeyError, tarfile.TarError) as error:
            print(f"{source}: {error}; give the file as its project publishes it", file=sys.stderr)
            return 1
        if len(compressed) > MAX_TABLE_BYTES:
            print(f"{name}: {len(compressed)} bytes are more than {MAX_TABLE_BYTES}", file=sys.stderr)
            return 1
        (options.out / f"{name}.csv.gz").write_bytes(compressed)
        print(f"wrote {name}.csv.gz, {len(compressed)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
