"""Peak memory of a hub under attack at a memory limit; part of `make bench`.

  .venv/bin/python -m bench.hub.memory [--limit-mib 512] [--seconds 20] [--scraped 100000 [--interval 10]]

With --scraped, the hub scrapes so many series of GPUs and model servers for `--seconds`, and nothing else. It also
prints how many blocks it cut and merged, because both take memory for a moment. Without, it
gets 100,000 services and operations with 500,000 attribute keys, then 64 senders at once, then 12 senders of bodies
of 15 MiB. Each answer must be 200, or 503 with the time to retry. Small requests must be accepted right afterwards.
"""

from __future__ import annotations

import argparse
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench.support.figures import Figure, report
from bench.support.process import hub_process
from bench.support.targets import Targets, served
from foreshock_dashboard.store.blocks.block_meta import META_FILE, read_meta

SERVICES, SERVICES_PER_REQUEST, KEYS = 100_000, 500, 5
SENDERS, LARGE_SENDERS, LARGE_BYTES = 64, 12, 15 << 20
HEADERS = {"Content-Type": "application/x-protobuf"}


def request(first: int, spans: int) -> bytes:
    """Spans of as many services, each with a different operation and different attribute keys."""
    made, now = ExportTraceServiceRequest(), time.time_ns()
    for number in range(first, first + spans):
        group = made.resource_spans.add()
        group.resource.attributes.add(key="service.name").value.string_value = f"service-{number}"
        span = group.scope_spans.add().spans.add(
            trace_id=struct.pack(">QQ", 1, number + 1),
            span_id=struct.pack(">Q", number + 1),
            name=f"operation-{number}",
            kind=2,
            start_time_unix_nano=now - 10_000_000,
            end_time_unix_nano=now,
        )
        for key in range(KEYS):
            span.attributes.add(key=f"key-{number}-{key}").value.string_value = f"value-{number}"
    return made.SerializeToString()


def send(url: str, body: bytes) -> str:
    """Send a request and return the status, and whether an answer of 503 says when to retry."""
    try:
        answer = httpx.post(url, content=body, headers=HEADERS, trust_env=False, timeout=120)
    except httpx.TransportError as error:  # refused before the body was sent
        return f"closed ({type(error).__name__})"
    is_unmarked = answer.status_code == 503 and "retry-after" not in answer.headers
    return f"{answer.status_code}{' without Retry-After' * is_unmarked}"


def repeated(url: str, body: bytes, senders: int, seconds: float) -> Counter[str]:
    """Send a body from several senders at once, and count the answers."""

    def answers() -> Iterator[str]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            yield send(url, body)

    with ThreadPoolExecutor(senders) as pool:
        return Counter(answer for found in pool.map(lambda _: [*answers()], range(senders)) for answer in found)


def scrape(series: int, limit_mib: int, seconds: float, interval: int) -> int:
    """Scrape targets with so many series, and print the peak; returns 1 if it exceeds the limit.

    interval: seconds between scrapes.
    """
    pages = Targets(series)
    flags = "--memory-limit", f"{limit_mib}MiB", "--scrape-interval", f"{interval}s"
    with (
        tempfile.TemporaryDirectory(prefix="foreshock-bench-") as folder,
        served(pages) as targets,
        hub_process(Path(folder), targets, flags) as hub,
    ):
        time.sleep(seconds)
        status = httpx.get(f"{hub.url}/api/status", trust_env=False, timeout=120).json()
        store = status["hub"]["store"]
        peak = hub.memory_mib("VmHWM")
        metas = [read_meta(file.parent) for file in Path(folder).glob(f"metrics/*/{META_FILE}")]
    print(
        f"{pages.series:,} series of {len(targets)} targets: {store['series']:,} stored (limit "
        f"{store['series_limit']:,}), {store['dropped_samples']:,} samples dropped"
    )
    up = sum(bool(each["up"]) for each in status["hub"]["scrapes"])
    cut = max((meta.sequences[1] for meta in metas), default=0)
    merged = sum(meta.level > 0 for meta in metas)
    print(f"{up} of them up, scraped every {interval} s; {cut} blocks cut, {merged} merged ones on disk")
    return report([Figure(name="Peak memory of many series", value=peak, unit="MiB", goal=limit_mib)])


def main() -> int:
    """Print the table; returns 1 if a goal is missed, or a small request is refused afterwards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit-mib", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=20.0, help="duration of each overload")
    parser.add_argument("--scraped", type=int, default=0, metavar="SERIES", help="scrape instead")
    parser.add_argument("--interval", type=int, default=30, help="seconds between scrapes")
    options = parser.parse_args()
    if options.scraped:
        return scrape(options.scraped, options.limit_mib, options.seconds, options.interval)
    flags = "--memory-limit", f"{options.limit_mib}MiB"
    with (
        tempfile.TemporaryDirectory(prefix="foreshock-bench-") as folder,
        hub_process(Path(folder), flags=flags) as hub,
    ):
        url, body = hub.endpoints[1], request(0, SERVICES_PER_REQUEST)
        firsts = range(0, SERVICES, SERVICES_PER_REQUEST)
        attacks: tuple[tuple[str, Callable[[], Counter[str]]], ...] = (
            (f"{SERVICES:,} services", lambda: Counter(send(url, request(n, SERVICES_PER_REQUEST)) for n in firsts)),
            (f"{SENDERS} senders", lambda: repeated(url, body, SENDERS, options.seconds)),
            (
                f"{LARGE_SENDERS} senders of {LARGE_BYTES >> 20} MiB",
                lambda: repeated(url, body * (LARGE_BYTES // len(body)), LARGE_SENDERS, options.seconds),
            ),
            ("1 sender afterwards", lambda: Counter(send(url, body) for _ in range(10))),
        )
        for name, attack in attacks:
            answers = attack()
            peak = hub.memory_mib("VmHWM")
            print(f"{name:<24}{peak:>8.0f} MiB at its peak; answers: {dict(answers)}", flush=True)
    refused = answers.total() - answers["200"]
    return report(
        [
            Figure(name="Peak memory under overload", value=peak, unit="MiB", goal=options.limit_mib),
            Figure(name="Small requests refused afterwards", value=refused, unit="", goal=0),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
