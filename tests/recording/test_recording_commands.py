"""The commands that record, show and convert recordings, and a hub over a recording."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from foreshock_dashboard.cli.main import main
from foreshock_dashboard.common.clock import clock_at
from foreshock_dashboard.common.progress import ProgressBar
from foreshock_dashboard.hub.hub import Hub
from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.recording.meta import RecordingMeta
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.replay.recording_hub import open_recording
from foreshock_dashboard.settings.settings import Settings
from foreshock_dashboard.sources.otlp.codec import encode_json

if TYPE_CHECKING:
    from tests.recording.conftest import Foreshock, Write

T0 = 1_790_000_000
NS = T0 * 10**9
SPAN = Span("a" * 32, "b" * 16, "", "GET /", "server", NS, NS + 10**6, "ok", "", {"service.name": "api"}, {})


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight minutes of a small platform, recorded by the command."""
    path = tmp_path_factory.mktemp("simulated") / "recording"
    assert main(["dev", "simulate", "calm", "--duration", "8m", "--seed", "3", "--output-dir", str(path)]) == 0
    return path


@contextmanager
def hub_over(settings: Settings) -> Iterator[Hub]:
    """A running hub on separate ports."""
    with ExitStack() as opened:
        own = replace(settings, port=0, otlp_grpc_port=0, otlp_http_port=0)
        complete, recording = opened.enter_context(open_recording(own))
        hub = opened.enter_context(closing(Hub(complete, clock_at(complete.at), recording=recording)))
        hub.start()
        yield hub


def get(hub: Hub, path: str) -> httpx.Response:
    return httpx.get(hub.web.url.rstrip("/") + path, trust_env=False, timeout=60)


def test_a_simulation_is_described_in_its_metadata(simulated: Path) -> None:
    """Scenario, seed and sampling; the ground truth is beside it."""
    with Recording(simulated) as recording:
        meta = recording.meta
    assert (meta.scenario, meta.seed, meta.simulated, meta.scrape_interval, meta.span_sampling) == (
        "calm", 3, True, 10.0, 0.05,
    )  # fmt: skip
    assert meta.end == pytest.approx(1_767_600_480, abs=2)
    truth = json.loads((simulated / "truth.json").read_text())
    assert (truth["scenario"], truth["seed"], truth["cascaded"]) == ("calm", 3, False)


def test_a_hub_shows_the_end_of_a_recording(simulated: Path, tmp_path: Path) -> None:
    """Page, API and traces are marked as simulated; spans are refused for good; the store is not touched."""
    store = tmp_path / "store"
    with hub_over(Settings(recording=simulated, store_path=store)) as hub:
        assert get(hub, "/readyz").status_code == 200
        assert get(hub, "/").status_code == 200
        now = get(hub, "/api/services").json()
        assert now["time"] == pytest.approx(1_767_600_480, abs=2)
        assert now["simulated"] is True
        assert {"serving/gateway"} <= {each["service"] for each in now["services"]}
        assert get(hub, "/api/gpus").json()["gpus"]
        traces = get(hub, "/api/traces?order=slowest&limit=5").json()["traces"]
        assert len(traces) == 5
        whole = get(hub, f"/api/traces/{traces[0]['trace_id']}").json()
        assert len(whole["spans"]) == traces[0]["spans"]
        refused = httpx.post(
            f"http://127.0.0.1:{hub.http.port}/v1/traces",
            content=encode_json([replace(SPAN, start_ns=1_767_600_480 * 10**9, end_ns=1_767_600_480 * 10**9)]),
            headers={"Content-Type": "application/json"},
            trust_env=False,
        )
        assert (refused.status_code, "does not accept data" in refused.text) == (403, True)
        assert "retry-after" not in refused.headers
        assert hub.receiver.stats().refused == {"read_only": 1}
    assert not store.exists()


def test_a_hub_can_show_an_earlier_time_of_a_recording(simulated: Path) -> None:
    """Later data is absent."""
    with hub_over(Settings(recording=simulated, at=1_767_600_200.0)) as hub:
        assert get(hub, "/api/services").json()["data_time"] == 1_767_600_200.0


def requests(step: float, count: int, metric: str = "traces_span_metrics_calls_total") -> list[SampleBatch]:
    labels = labels_of({"service_name": "api", "span_name": "GET /", "span_kind": "SPAN_KIND_SERVER"})
    return [SampleBatch(T0 + step * k, "t", (Sample(metric, labels, 10.0 * k),)) for k in range(count)]


def test_the_rate_window_follows_the_recordings_scrape_interval(write: Write) -> None:
    """A flag takes precedence."""
    path = write(requests(60.0, 40))
    with open_recording(Settings(recording=path)) as (complete, _):
        assert (complete.scrape_interval, complete.window) == (60.0, 239.0)
    with open_recording(Settings(recording=path, scrape_interval=30.0)) as (complete, _):
        assert complete.window == 119.0


def test_a_recording_is_marked_as_simulated_by_its_metadata(write: Write) -> None:
    """Its metrics need not say so."""
    for simulated in (True, False):
        path = write(requests(10.0, 60), name=f"simulated-{simulated}", meta=RecordingMeta(simulated=simulated))
        with hub_over(Settings(recording=path)) as hub:
            assert get(hub, "/api/now").json()["simulated"] is simulated


def test_a_recording_without_metrics_or_spans_can_be_shown(write: Write) -> None:
    """With the data it has."""
    with hub_over(Settings(recording=write(spans=[SPAN], name="spans"))) as hub:
        assert get(hub, f"/api/traces/{SPAN.trace_id}").status_code == 200
        assert get(hub, "/readyz").status_code == 200
    path = write(requests(10.0, 60), name="metrics")
    (path / "spans.parquet").unlink()
    meta = json.loads((path / "meta.json").read_text())
    (path / "meta.json").write_text(json.dumps({**meta, "files": {}}))
    with hub_over(Settings(recording=path)) as hub:
        assert get(hub, "/api/traces").json()["traces"] == []
        assert get(hub, "/readyz").status_code == 200


def test_a_trace_of_a_recording_is_printed(simulated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Like that of a running hub."""
    with Recording(simulated) as recording:
        span = next(one for some in recording.spans() for one in some if not one.occupancy)
    assert main(["trace", "show", span.trace_id, "--from", str(simulated)]) == 0
    assert f"trace {span.trace_id}, 2026-01-05 08:0" in capsys.readouterr().out
    assert main(["trace", "show", "f" * 32, "--from", str(simulated)]) == 1
    assert "unknown trace ffff" in capsys.readouterr().err


Words = Callable[[Path], list[object]]
SIMULATE = ("dev", "simulate", "calm")
IMPORT = ("recording", "import")
REFUSED: dict[str, tuple[Words, int, str]] = {
    "an unknown scenario": (lambda d: ["dev", "simulate", "nothing", "--output-dir", d / "x"], 2, "nothing"),
    "no duration": (lambda d: [*SIMULATE, "--duration", "long", "--output-dir", d / "x"], 2, "--duration: 'long' is"),
    "no ratio": (lambda d: [*SIMULATE, "--span-sampling", "2", "--output-dir", d / "x"], 2, "use a number from 0 to 1"),
    "no start": (lambda d: [*SIMULATE, "--start", "noon", "--output-dir", d / "x"], 2, "'noon' is not a valid time"),
    "a folder that is full": (lambda d: [*SIMULATE, "--output-dir", d], 1, "exists and is not empty"),
    "nothing to import": (lambda d: [*IMPORT, "--output-dir", d / "x"], 2, "Pass at least one."),
    "a missing file": (
        lambda d: [*IMPORT, "--openmetrics", d / "no", "--output-dir", d / "x"], 1, "cannot be read: No such",
    ),
    "an empty import": (
        lambda d: [*IMPORT, "--openmetrics", d / "empty.om", "--output-dir", d / "x"], 1, "neither a sample",
    ),
    "nothing to export": (lambda d: ["recording", "export", d], 2, "Pass at least one."),
    "an export of nothing": (lambda d: ["recording", "export", d, "--openmetrics", d / "x"], 1, "is not a recording"),
    "a hub over nothing": (lambda d: ["serve", "--recording", d / "no"], 1, "there is no such folder"),
    "two sources": (
        lambda d: ["serve", "--recording", d, "--prometheus-url", "http://p:9090"], 2, "a hub reads only one of them",
    ),
    "a trace of nothing": (lambda d: ["trace", "show", "ab", "--from", d], 1, "it is not a recording"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_errors_name_the_remedy(foreshock: Foreshock, tmp_path: Path, what: str) -> None:
    """In one line, with exit code 1, or 2 for wrong usage; nothing is left behind."""
    words, code, message = REFUSED[what]
    (tmp_path / "empty.om").write_text("# EOF\n")
    assert foreshock(*words(tmp_path)) == code, foreshock.said
    assert message in foreshock.said
    assert "Traceback" not in foreshock.said
    assert [file.name for file in tmp_path.iterdir()] == ["empty.om"]


def test_an_export_overwrites_nothing(foreshock: Foreshock, tmp_path: Path, write: Write) -> None:
    """It leaves no partial file."""
    path = write(requests(10.0, 5))
    (tmp_path / "out.om").write_text("mine")
    assert foreshock("recording", "export", path, "--openmetrics", tmp_path / "out.om") == 1
    assert "exists; remove it or name another file" in foreshock.said
    assert (tmp_path / "out.om").read_text() == "mine"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_progress_bar_is_drawn_on_terminals_only() -> None:
    """Elsewhere, a task of less than a minute prints its last line only."""
    for out, drawn in ((Terminal(), True), (io.StringIO(), False)):
        bar = ProgressBar(out)
        bar("sorting", 1.0)
        bar.end("done")
        assert ("100%  sorting" in out.getvalue()) == drawn
        assert out.getvalue().endswith("done\n")


def test_long_tasks_log_their_progress_once_per_minute() -> None:
    out, seconds = io.StringIO(), iter(range(0, 3600, 25))
    bar = ProgressBar(out, lambda: float(next(seconds)))
    for run in range(1, 9):  # at 25, 50, … 200 s
        bar(f"{run} of 8", run / 8)
    bar.end("8 runs")
    assert out.getvalue().splitlines() == [" 38%  3 of 8", " 75%  6 of 8", "8 runs"]
