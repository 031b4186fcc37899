"""A real Prometheus that takes samples by remote write, and both metric sources loaded with the same samples."""

from __future__ import annotations

import itertools
import re
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import cramjam
import httpx
import numpy as np
import pytest
from bench.engine.remote_write import field, varint
from numpy.typing import NDArray

from foreshock_dashboard.model.query import MetricSource
from foreshock_dashboard.model.samples import Labels, SampleBatch
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.recording.metrics import RecordedMetrics
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.recording.writer import RecordingWriter
from foreshock_dashboard.sources.prometheus.api import PrometheusSource
from foreshock_dashboard.store import Store, StoreLimits

T0 = 1_790_000_000
"""Unix seconds at which every series of these tests starts."""
_NUMBER = itertools.count()


def write_request(batches: Iterable[SampleBatch]) -> bytes:
    """prometheus.WriteRequest (prompb/remote.proto), encoded by hand: doubles keep their bits."""
    series: dict[tuple[str, Labels], list[tuple[int, float]]] = {}
    for batch in batches:
        for sample in batch.samples:
            series.setdefault((sample.metric, sample.labels), []).append((round(batch.time * 1000), sample.value))
    out = b""
    for (metric, labels), values in series.items():
        pairs = sorted((("__name__", metric), *labels))
        body = b"".join(field(1, field(1, name.encode()) + field(2, value.encode())) for name, value in pairs)
        for time, value in sorted(values, key=lambda pair: pair[0]):
            body += field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + varint(time))
        out += field(1, body)
    return out


def snappy(data: bytes) -> bytes:
    """Snappy's block format."""
    return bytes(cramjam.snappy.compress_raw(data))


@dataclass(frozen=True)
class Server:
    """A running Prometheus."""

    url: str

    def write(self, batches: Iterable[SampleBatch]) -> None:
        """Send samples by remote write."""
        answer = httpx.post(
            f"{self.url}/api/v1/write",
            content=snappy(write_request(batches)),
            headers={"Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "0.1.0"},
        )
        assert answer.status_code in (200, 204), answer.text


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Prometheus on a free port of loopback, empty at first, for all that write at ever later times."""
    with running_prometheus(tmp_path_factory.mktemp("prometheus")) as server:
        yield server


@pytest.fixture
def own_prometheus(tmp_path: Path) -> Iterator[Server]:
    """Another one, in which no other test has written anything."""
    with running_prometheus(tmp_path) as server:
        yield server


@contextmanager
def running_prometheus(folder: Path, *flags: str) -> Iterator[Server]:
    """A Prometheus on the blocks in the folder's `data`, if there are any. flags: its further ones."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("prometheus is not installed; `make setup-tests` installs it")
    (folder / "prometheus.yml").write_text("global: {}\n")
    command = [
        binary,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--web.listen-address=127.0.0.1:0",
        "--web.enable-remote-write-receiver",
        *flags,
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            yield Server(_address(process.stderr))
        finally:
            process.terminate()
            process.stderr.read()
            process.wait(30)


Row = tuple[str, Mapping[str, str], Floats]
"""A metric, its labels, and its values at the times."""


def backfill(folder: Path, rows: Sequence[Row], times: Floats, places: NDArray[np.intp] | None = None) -> None:
    """Write the samples at some places of `times` (all by default) as blocks into the folder's `data`."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed; `make setup-tests` installs it")
    chosen = np.arange(len(times)) if places is None else places
    lines = []
    for name, labels, values in rows:  # each series from its earliest sample on, as OpenMetrics has it
        head = f"{name}{{{','.join(f'{key}={chr(34)}{value}{chr(34)}' for key, value in labels.items())}}}"
        lines += [f"{head} {value:.10g} {at:.3f}\n" for value, at in zip(values[chosen], times[chosen], strict=True)]
    (folder / "part").write_text("".join(lines) + "# EOF\n")
    # One block of all takes as long as one of two hours, which are the default.
    command = [promtool, "tsdb", "create-blocks-from", "--max-block-duration=744h", "openmetrics", "-q"]
    command += [str(folder / "part"), str(folder / "data")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _address(log: Iterable[str]) -> str:
    seen, address, ready = [], "", False
    for line in log:
        seen.append(line)
        if found := re.search(r'msg="?Listening on"? .*address=(\S+)', line):
            address = found[1]
        ready = ready or "Server is ready to receive web requests" in line
        if ready and address:  # they come in either order
            return f"http://{address}"
    pytest.fail("prometheus did not start: " + "".join(seen[-5:]))


Load = Callable[[Sequence[SampleBatch]], MetricSource]


@pytest.fixture
def fresh_store(tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Makes empty stores that seal at each call of `maintain`."""
    opened: list[Store] = []

    def make() -> Store:
        folder = tmp_path / f"store-{next(_NUMBER)}"
        opened.append(Store.open(folder, now=lambda: float(T0), limits=StoreLimits(block_bytes=1, duckdb_threads=1)))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def fresh_name() -> Callable[[], str]:
    """A metric's name that no test has used: they share a server."""
    return lambda: f"m{next(_NUMBER)}"


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Load]:
    """Makes a recording of samples, and a source of it; the one before is closed."""
    with ExitStack() as opened:

        def load(batches: Sequence[SampleBatch]) -> MetricSource:
            opened.close()
            path = tmp_path / f"recording-{next(_NUMBER)}"
            with RecordingWriter(path) as writer:
                for batch in batches:
                    series = np.array([writer.series(each.metric, each.labels) for each in batch.samples], np.int32)
                    times = np.full(len(series), round(batch.time * 1000), np.int64)
                    writer.add(series, times, np.array([each.value for each in batch.samples], np.float64))
            return RecordedMetrics(opened.enter_context(Recording(path)))

        yield load


@pytest.fixture(params=["store", "recording", "prometheus"])
def load(request: pytest.FixtureRequest) -> Iterator[Load]:
    """Puts samples into a source: the embedded store, a recording, a real Prometheus."""
    if request.param == "recording":
        yield request.getfixturevalue("recorded")
        return
    if request.param == "store":
        store: Store = request.getfixturevalue("fresh_store")()

        def into_store(batches: Sequence[SampleBatch]) -> MetricSource:
            store.append_samples(batches)
            return store

        yield into_store
        return
    server: Server = request.getfixturevalue("prometheus")
    source = PrometheusSource(server.url)

    def into_prometheus(batches: Sequence[SampleBatch]) -> MetricSource:
        server.write(batches)
        return source

    yield into_prometheus
    source.close()
