"""Prometheus' remote write into the hub's store, by a real Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import cramjam
import httpx
import pytest
from tests.conftest import Eventually
from tests.ports import free_port
from tests.sources.http_config.conftest import answers, process
from tests.sources.prometheus.conftest import snappy, write_request

from foreshock_dashboard.model.query import Query
from foreshock_dashboard.model.samples import STALE, Sample, SampleBatch, is_stale, labels_of
from foreshock_dashboard.sources.otlp.http import HttpListener
from foreshock_dashboard.sources.otlp.receiver import Receiver
from foreshock_dashboard.sources.prometheus.remote_write import MAX_BYTES, decode_write_request
from foreshock_dashboard.store import Store

pytestmark = pytest.mark.slow


def test_a_prometheus_writes_what_it_scrapes(tmp_path: Path, wait: Eventually) -> None:
    """With the token of the receivers, and not without."""
    with ExitStack() as opened:
        store = opened.enter_context(closing(Store.open(tmp_path / "store", now=time.time)))
        receiver = Receiver(
            accept=lambda _: None, accept_samples=store.append_samples, allows=lambda given: given == "Bearer sesame"
        )
        listening = opened.enter_context(closing(HttpListener(receiver, "127.0.0.1", 0)))
        port = free_port()
        (tmp_path / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s, external_labels: {cluster: eu}}\n"
            f"scrape_configs: [{{job_name: own, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
            f"remote_write: [{{url: 'http://127.0.0.1:{listening.port}/api/v1/write', "
            "authorization: {credentials: sesame}, queue_config: {batch_send_deadline: 100ms}}]\n"
        )
        command: list[str | Path] = [
            "prometheus",
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        opened.enter_context(process(command, lambda: answers(f"http://127.0.0.1:{port}"), wait))

        def up() -> bool:
            now = float(int(time.time()))
            found = store.fetch(Query("up"), now, now, 1.0)
            return found.labels == (labels_of({"cluster": "eu", "instance": f"127.0.0.1:{port}", "job": "own"}),)

        wait(up, "the scrapes arrive")
        assert "prometheus_build_info" in store.metric_names()
        assert receiver.stats().rejected_points == {}
        url = f"http://127.0.0.1:{listening.port}/api/v1/write"
        assert httpx.post(url, content=b"x", trust_env=False).status_code == 401


NOW = 1_790_000_000.0


def test_values_keep_their_bits_and_each_its_time() -> None:
    """A staleness marker is a NaN with a payload."""
    series = Sample("m", labels_of({"a": "b"}), 1.5)
    sent = [SampleBatch(NOW - 1, "x", (series,)), SampleBatch(NOW, "x", (series._replace(value=STALE),))]
    batches, rejected = decode_write_request(snappy(write_request(sent)), NOW)
    assert [(batch.time, batch.samples[0].labels) for batch in batches] == [
        (NOW - 1, (("a", "b"),)),
        (NOW, (("a", "b"),)),
    ]
    assert batches[0].samples[0].value == 1.5
    assert is_stale(batches[1].samples[0].value)
    assert not rejected


def test_samples_that_cannot_be_stored_are_counted_by_reason() -> None:
    """The others are kept."""
    sent = [
        SampleBatch(time, "x", (Sample(name, labels_of({"a": value}), 1.0),))
        for time, name, value in (
            (NOW - 9999, "old", ""),
            (NOW + 999, "new", ""),
            (NOW, "long", "x" * 5000),
            (NOW, "m", ""),
        )
    ]
    batches, rejected = decode_write_request(snappy(write_request(sent)), NOW)
    assert [sample.metric for batch in batches for sample in batch.samples] == ["m"]
    assert rejected == {"time too far from the hub's": 2, "too many or too long labels": 1}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"plain", "not compressed with Snappy"),
        (bytes(cramjam.snappy.compress_raw(b"\x0a\xff")), "not a WriteRequest"),
        (bytes(cramjam.snappy.compress_raw(b"\x0a\x05a")), "not a WriteRequest"),
        (bytes(cramjam.snappy.compress_raw(b" " * (MAX_BYTES + 1))), "larger than 4 MiB after decompression"),
    ],
)
def test_what_is_no_request_is_refused(body: bytes, message: str) -> None:
    """Before it is decompressed if it is too large."""
    with pytest.raises(ValueError, match=message):
        decode_write_request(body, NOW)


def test_version_2_is_refused_with_the_remedy(serve: Callable[[Receiver], str]) -> None:
    """Prometheus then says so in its log."""
    url = serve(Receiver(accept=lambda _: None, accept_samples=lambda _: None))
    kind = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
    headers = {"Content-Type": kind, "Content-Encoding": "snappy", "X-Prometheus-Remote-Write-Version": "2.0.0"}
    answer = httpx.post(url, content=b"", headers=headers, trust_env=False)
    assert answer.status_code == 415
    assert b"remote write 2.0 is not supported; use prometheus.WriteRequest" in answer.content


@pytest.fixture
def serve() -> Iterator[Callable[[Receiver], str]]:
    """Puts a receiver behind a socket, and gives its URL."""
    with ExitStack() as opened:

        def start(receiver: Receiver) -> str:
            listening = opened.enter_context(closing(HttpListener(receiver, "127.0.0.1", 0)))
            return f"http://127.0.0.1:{listening.port}/api/v1/write"

        yield start
