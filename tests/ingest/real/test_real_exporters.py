"""A real node exporter and our own exporter are scraped side by side."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from tests.ports import free_port

from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.model.samples import SampleBatch, is_stale
from foreshock_dashboard.sources.prometheus.scrape import Scraper
from foreshock_dashboard.sources.prometheus.target import ScrapeTarget
from foreshock_dashboard.sources.prometheus.text_format import parse

pytestmark = pytest.mark.slow

Eventually = Callable[[Callable[[], bool], str], None]
NODE_EXPORTER = shutil.which("prometheus-node-exporter")
EXPORTER = Path(sys.executable).with_name("foreshock-exporter")


@pytest.fixture
def start() -> Iterator[Callable[..., str]]:
    """Start an exporter on loopback and give the URL of its metrics; all are ended after the test."""
    with ExitStack() as stack:

        def run(program: str | Path, *arguments: str) -> str:
            port = free_port()
            command = [str(program), *arguments, f"--web.listen-address=127.0.0.1:{port}"]
            process = stack.enter_context(
                subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            )
            stack.callback(process.terminate)
            return f"http://127.0.0.1:{port}/metrics"

        yield run


def test_the_node_exporter_and_ours_are_scraped_side_by_side(
    start: Callable[..., str], eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    """Both are up, every series has its target's labels, and stopping one leaves the other as it was."""
    caplog.set_level(logging.WARNING, "foreshock_dashboard.sources.prometheus.scrape")
    assert NODE_EXPORTER is not None, "the Debian package prometheus-node-exporter is missing; `make test` installs it"
    urls = {"node": start(NODE_EXPORTER), "foreshock-exporter": start(EXPORTER, "--mock")}
    newest: dict[str, SampleBatch] = {}

    def sink(batches: Sequence[SampleBatch]) -> None:
        newest.update({batch.target: batch for batch in batches})

    scraper = Scraper(
        [ScrapeTarget(url, job) for job, url in urls.items()], sink=sink, clock=Clock(), interval=0.5, timeout=10
    )
    scraper.start()
    try:
        eventually(lambda: all(state.up for state in scraper.states()), "both up")
        ours = urls["foreshock-exporter"]  # answers also before its first reading is there
        eventually(lambda: any(each.metric == "gpu_info" for each in newest[ours].samples), "a first reading")
        names = {job: {sample.metric for sample in newest[url].samples} for job, url in urls.items()}
        assert names["node"] >= {"node_network_receive_bytes_total", "node_cpu_seconds_total", "go_gc_duration_seconds"}
        assert names["foreshock-exporter"] >= {"gpu_info", "gpu_busy_seconds_total", "foreshock_exporter_mock"}
        for job, url in urls.items():
            for sample in newest[url].samples:
                labels = dict(sample.labels)
                assert (labels["job"], f"http://{labels['instance']}/metrics") == (job, url)
            (up,) = (sample.value for sample in newest[url].samples if sample.metric == "up")
            assert up == 1.0
            assert not any(is_stale(sample.value) for sample in newest[url].samples if sample.metric == "up")
        text = httpx.get(urls["node"], trust_env=False).text
        lines = [line for line in text.split("\n") if line and not line.startswith("#")]
        assert len(parse(text, {})) == len(lines) > 100
        eventually(lambda: all(state.scrapes >= 2 for state in scraper.states()), "two scrapes each")
        assert all(state.error == "" for state in scraper.states())
    finally:
        scraper.close()
