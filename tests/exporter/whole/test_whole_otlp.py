"""Pushes of the command to a receiver that is present, late, or missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.exporter.whole.exposition import Values, from_text, metrics_address
from tests.exporter.whole.receiver import Receiver, attributes, receiving

from foreshock_exporter.exporter import Exporter
from foreshock_exporter.gpu.contention import ServiceKey
from foreshock_exporter.gpu.occupancy import Observation
from foreshock_exporter.gpu.snapshot import Snapshot
from foreshock_exporter.otlp.pusher import OtlpPusher
from foreshock_exporter.otlp.span_pusher import MAX_QUEUED_SPANS
from foreshock_exporter.script.mock import open_script

if TYPE_CHECKING:
    from tests.conftest import Eventually

COMMAND = str(Path(sys.executable).with_name("foreshock-exporter"))
HOURS = 8
TURNS: tuple[dict[str, object], ...] = (
    *({"gpu": gpu, "device": {}} for gpu in range(4)),
    {"gpu": 0, "process": {"pid": 1, "service": "chat", "memory_bytes": 1e9}},
    {"gpu": 0, "process": {"pid": 2, "service": "batch", "memory_bytes": 1e9}},
    *({"at": at, "gpu": 0, "process": {"pid": pid, "sm": sm}} for at, sm in ((0.0, 0.5), (1.0, 0.0)) for pid in (1, 2)),
)
"""Two services that run for one second of every two, so that intervals end often."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver that is not there yet."""
    with receiving() as found:
        yield found


@contextmanager
def pushing(endpoint: str, log: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The command with a script in which two services contend, and the address of its metrics."""
    script = log.with_name("turns.jsonl")
    lines = ({"foreshock_device_script": 1, "loop": 2}, *TURNS)
    script.write_text("".join(json.dumps(each) + "\n" for each in lines))
    line = [COMMAND, f"--mock={script}", "--web.listen-address=127.0.0.1:0", f"--otlp.endpoint={endpoint}"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FORESHOCK_", "OTEL_"))}
    with log.open("wb") as values:
        running = subprocess.Popen([*line, "--otlp.interval=1"], stderr=values, env=kept)
    try:
        yield running, metrics_address(running, log)
    finally:
        running.terminate()
        running.wait(30)


def scrape(address: str) -> Values:
    with urllib.request.urlopen(address, timeout=30) as answer:
        return from_text(answer.read())


def total(values: Values, name: str, **labels: str) -> float:
    """The sum over the series of a name with these labels."""
    return sum(value for (of, with_), value in values.items() if of == name and labels.items() <= dict(with_).items())


def test_readings_and_spans_arrive_from_the_command(receiver: Receiver, tmp_path: Path, eventually: Eventually) -> None:
    receiver.open()
    with pushing(receiver.url, tmp_path / "log") as (_, address):
        eventually(lambda: len(receiver.readings().get("hw.gpu.utilization", ())) == 4, "readings of four GPUs")
        eventually(lambda: len(receiver.spans()) >= 4, "occupancy spans")
        values = scrape(address)
        pushed = receiver.readings()
    assert sum(pushed["hw.gpu.memory.limit"].values()) == total(values, "gpu_memory_total_bytes")
    assert set(pushed["hw.gpu.memory.limit"].values()) == {80.0 * 2**30}
    assert total(values, "foreshock_exporter_otlp_pushed_total", signal="metrics") > 0
    assert total(values, "foreshock_exporter_otlp_failed_total") == 0
    for resource, span in receiver.spans():
        assert resource["service.name"] == "foreshock-exporter"
        assert resource["foreshock.mock"] == "true"
        check_occupancy(span)


def check_occupancy(span: Span) -> None:
    """Spans show which of the two services was on GPU 0, and when."""
    values = attributes(span.attributes)
    assert span.name == "gpu.occupancy"
    assert values["hw.name"] == "GPU 0"
    assert values["foreshock.occupant.name"] in ("chat", "batch")
    assert 0 < span.end_time_unix_nano - span.start_time_unix_nano <= 10e9
    assert abs(span.end_time_unix_nano / 1e9 - time.time()) < 120


def test_a_receiver_that_comes_late_gets_the_readings_of_then_and_the_spans_of_before(
    receiver: Receiver, tmp_path: Path, eventually: Eventually
) -> None:
    log = tmp_path / "log"
    with pushing(receiver.url, log) as (running, address):
        eventually(
            lambda: total(scrape(address), "foreshock_exporter_otlp_failed_total", signal="metrics") > 0, "fails"
        )
        assert total(scrape(address), "foreshock_exporter_otlp_pushed_total") == 0
        assert total(scrape(address), "gpus_present") == 4, "a scrape is served meanwhile"
        came = time.time()
        receiver.open()
        eventually(lambda: bool(receiver.readings()), "readings")
        eventually(lambda: bool(receiver.spans()), "spans", 60.0)
        assert min(span.start_time_unix_nano for _, span in receiver.spans()) / 1e9 < came
        eventually(
            lambda: total(scrape(address), "foreshock_exporter_otlp_pushed_total", signal="traces") > 0, "pushed"
        )
        assert running.poll() is None
    assert log.read_text().count("level=WARNING") <= 4, "each trouble once"


def test_a_receiver_that_never_comes_neither_delays_the_end_nor_a_scrape(
    receiver: Receiver, tmp_path: Path, eventually: Eventually
) -> None:
    with pushing(receiver.url, tmp_path / "log") as (running, address):
        eventually(lambda: total(scrape(address), "gpu_contended_seconds_total") > 1, "sampled")
        running.terminate()
        assert running.wait(30) == 0


def test_failed_readings_are_logged_and_the_next_are_pushed(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """The SDK swallows exceptions of its callbacks."""
    receiver.open()
    played = open_script("healthy", time.time)
    exporter = Exporter(played.driver, played.resolver, host_id="1", host_name="host")
    exporter.sample()
    faults = [ZeroDivisionError("a bug")]

    def snapshot() -> Snapshot:
        if faults:
            raise faults.pop()
        return exporter.snapshot()

    push = OtlpPusher(receiver.url, snapshot, {}, 300.0, time.time)
    push.start()
    push.flush()
    assert "a bug" in caplog.text
    assert not receiver.readings()
    push.flush()
    assert len(receiver.readings()["hw.gpu.memory.limit"]) == 4
    push.close()
    exporter.close()


def test_spans_of_an_eight_hour_outage_are_bounded_and_drops_are_counted(receiver: Receiver) -> None:
    """Two alternating services on one GPU with one sample per second."""
    clock = [1.8e9]
    push = OtlpPusher(receiver.url, lambda: Snapshot("", "", "", "", True), {}, 10.0, lambda: clock[0])
    chat, batch = ServiceKey("", "chat"), ServiceKey("", "batch")
    for second in range(HOURS * 3600):
        shares = {chat: 0.5, batch: 0.5} if second % 3 else {chat: 1.0}
        push.observe(Observation("GPU-0", "0", clock[0], clock[0] + 1.0, shares))
        clock[0] += 1.0
    push.close()
    assert push._spans is not None
    assert len(push._spans._queue) == MAX_QUEUED_SPANS
    (dropped,) = (samples for family, samples in push.families() if family.name.endswith("_spans_dropped_total"))
    counted = {sample.labels[0]: sample.value for sample in dropped if not hasattr(sample, "counts")}
    assert counted["queue"] > 2 * HOURS * 3600 / 3 - MAX_QUEUED_SPANS - 10
