"""Recordings in temporary folders, promtool, and a real Prometheus over blocks from promtool."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from foreshock_dashboard.cli.main import main
from foreshock_dashboard.model.samples import Labels, SampleBatch
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.recording.meta import RecordingMeta
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.recording.writer import RecordingWriter

Write = Callable[..., Path]
Rows = dict[tuple[str, Labels], list[tuple[int, float]]]


def add(writer: RecordingWriter, batches: Sequence[SampleBatch]) -> None:
    """Write scrapes."""
    for batch in batches:
        numbers = np.array([writer.series(sample.metric, sample.labels) for sample in batch.samples], np.int32)
        times = np.full(len(numbers), round(batch.time * 1000), np.int64)
        writer.add(numbers, times, np.array([sample.value for sample in batch.samples], np.float64))


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a recording of scrapes and spans."""

    def into(
        batches: Sequence[SampleBatch] = (),
        spans: Sequence[Span] = (),
        name: str = "recording",
        meta: RecordingMeta = RecordingMeta(),  # noqa: B008
    ) -> Path:
        with RecordingWriter(tmp_path / name, meta) as writer:
            add(writer, batches)
            writer.add_spans(spans)
        return tmp_path / name

    return into


@pytest.fixture
def opened() -> Iterator[Callable[[Path], Recording]]:
    """Opens recordings, and closes them after the test."""
    with ExitStack() as stack:
        yield lambda path: stack.enter_context(Recording(path))


@pytest.fixture
def rows(opened: Callable[[Path], Recording]) -> Callable[[Path], Rows]:
    """Reads all samples of a recording: (time in ms, value), by series."""

    def read(path: Path) -> Rows:
        recording = opened(path)
        samples: Rows = {}
        for piece in recording.samples():
            for row, time, value in zip(
                piece.series.tolist(), piece.times.tolist(), piece.values.tolist(), strict=True
            ):
                series = recording.series[row]
                samples.setdefault((series.metric, series.labels), []).append((time, value))
        return samples

    return read


class Foreshock:
    """Runs a command in this process; `said` is its standard error, `printed` its standard output."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd
        self.said = self.printed = ""

    def __call__(self, *words: object) -> int:
        """Return the exit code."""
        try:
            code = main([str(word) for word in words])
        except SystemExit as ended:
            code = int(str(ended.code))
        self.printed, self.said = self._capfd.readouterr()
        return code


@pytest.fixture
def foreshock(capfd: pytest.CaptureFixture[str]) -> Foreshock:
    """The command line."""
    return Foreshock(capfd)


@pytest.fixture(scope="session")
def promtool() -> Callable[..., str]:
    """Runs promtool and returns its standard output."""
    binary = shutil.which("promtool")
    if binary is None:
        pytest.skip("promtool is not installed; `make setup-tests` installs it")

    def run(*words: object) -> str:
        done = subprocess.run([binary, *map(str, words)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def prometheus_over(tmp_path: Path) -> Iterator[Callable[[Path], str]]:
    """Starts a Prometheus over a data folder and returns its URL."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("prometheus is not installed; `make setup-tests` installs it")
    config = tmp_path / "prometheus.yml"
    config.write_text("global: {}\n")
    started: list[subprocess.Popen[str]] = []

    def start(data: Path) -> str:
        command = [binary, f"--config.file={config}", f"--storage.tsdb.path={data}", "--web.listen-address=127.0.0.1:0"]
        process = subprocess.Popen(
            [*command, "--storage.tsdb.retention.time=100y"], stderr=subprocess.PIPE, text=True, bufsize=1
        )
        started.append(process)
        assert process.stderr
        address, output, ready = "", [], False
        for line in process.stderr:
            output.append(line)
            if match := re.search(r'msg="?Listening on"? .*address=(\S+)', line):
                address = match[1]
            ready = ready or "Server is ready to receive web requests" in line
            if ready and address:  # they come in either order
                return f"http://{address}"
        pytest.fail("prometheus did not start: " + "".join(output[-5:]))

    yield start
    for process in started:
        process.terminate()
        assert process.stderr
        process.stderr.read()
        process.wait(30)
        process.stderr.close()
