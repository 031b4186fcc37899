"""The intake: store, journal, ingest pipeline, and OTLP receivers.

It needs neither the analysis nor the page and imports none of their libraries, which take most of the start. So
`foreshock serve` opens it first, and spans are stored while the rest of the hub is imported.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import NoReturn, TypeVar

from foreshock_dashboard.access.tls import TlsFiles
from foreshock_dashboard.access.tokens import Tokens
from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.hub.memory import Memory
from foreshock_dashboard.ingest.indexed_attributes import attribute_reader
from foreshock_dashboard.ingest.otlp.metrics.reader import MetricsReader
from foreshock_dashboard.ingest.pipeline import IngestPipeline
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.samples import SampleBatch
from foreshock_dashboard.model.span import TRACE_KEYS, Span
from foreshock_dashboard.settings.settings import HubError, Settings
from foreshock_dashboard.sources.otlp.admission import Admission
from foreshock_dashboard.sources.otlp.grpc import GrpcListener
from foreshock_dashboard.sources.otlp.http import HttpListener
from foreshock_dashboard.sources.otlp.receiver import MIN_RETRY_SECONDS, Receiver, Refusal, RefusedError
from foreshock_dashboard.store import Journal, Retention, Store

log = logging.getLogger(__name__)

Opened = TypeVar("Opened")
Otlp = TypeVar("Otlp", GrpcListener, HttpListener)


class Intake:
    """Takes spans in once constructed. A hub at a past time takes nothing in: its receivers refuse all requests.

    The receivers answer before the store is open, since it may have much to replay: until then, senders shall retry.

    Attributes:
        writes_samples: whether the hub stores the series that it derives from spans.

    Raises:
        HubError: an address is in use, or a file of an option cannot be used.
        StoreError: the store cannot be opened.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._clock = clock
        self.memory = Memory(settings.memory_limit)
        self.writes_samples = settings.at is None and settings.recording is None and not settings.prometheus_url
        trace_keys = settings.indexed_attributes or TRACE_KEYS
        senders = tokens("--otlp-token-file", settings.otlp_token_file)
        self._accept: Callable[[Sequence[Span]], None] = _refuse if settings.at is not None else _refuse_for_now
        self._accept_metrics: Callable[[bytes], tuple[int, Counter[str]]] = self._refuse_points
        self._accept_samples: Callable[[Sequence[SampleBatch]], None] = lambda _: self._accept(())
        self.receiver = Receiver(
            accept=lambda spans: self._accept(spans),
            accept_metrics=lambda payload: self._accept_metrics(payload),
            accept_samples=lambda batches: self._accept_samples(batches),
            admission=Admission(self.memory.request_bytes, self.memory.has_room),
            allows=senders.allows if senders else None,
            now=clock.now,
            attributes=attribute_reader(trace_keys),
        )
        with ExitStack() as listening:
            self.grpc = listening.enter_context(closing(_otlp_listener(GrpcListener, self.receiver, settings)))
            self.http = listening.enter_context(closing(_otlp_listener(HttpListener, self.receiver, settings)))
            with ExitStack() as opened:
                self.store = Store.open(
                    settings.store_path,
                    now=clock.now,
                    monotonic=clock.monotonic,
                    retention=Retention(settings.retention_metrics, settings.retention_traces, settings.retention_size),
                    limits=self.memory.store_limits(),
                    trace_keys=trace_keys,
                )
                opened.callback(self.store.close)
                self.journal = Journal(settings.store_path, now=clock.now, monotonic=clock.monotonic)
                opened.callback(self.journal.close)
                self.pipeline = IngestPipeline(
                    self.store,
                    clock,
                    max_series=min(settings.span_metrics_max_series, self.memory.span_series),
                    max_pending=self.memory.pending_spans,
                )
                opened.callback(self._write_last_samples)
                opened.push(listening.pop_all())  # closed first
                self._opened = opened.pop_all()
        if settings.at is None:
            self._accept = self.pipeline.accept
            reader = MetricsReader(self.store.append_samples, clock.now)
            self._accept_metrics = reader.accept if self.writes_samples else _refuse_metrics
            self._accept_samples = self.store.append_samples if self.writes_samples else _refuse_metrics

    def _refuse_points(self, _: bytes) -> tuple[int, Counter[str]]:
        """Refuse metrics for the reason for which spans are refused."""
        self._accept(())
        raise AssertionError

    def close(self) -> None:
        """Stop the receivers, store the last counts, and close the store. May be called twice."""
        self._opened.close()

    def _write_last_samples(self) -> None:
        """Store the counts since the last evaluation, after the receivers are closed."""
        if self.writes_samples:
            try:
                self.pipeline.write(self._clock.now())
            except SourceError as error:
                log.warning("store: samples since the last evaluation were not written: %s", error)


def _refuse(_: Sequence[Span]) -> None:
    raise RefusedError(Refusal.READ_ONLY, "this hub shows a past time and does not accept data")


def _refuse_metrics(_: object) -> NoReturn:
    raise RefusedError(Refusal.READ_ONLY, "this hub reads its metrics from another source; send metrics there")


def _refuse_for_now(_: Sequence[Span]) -> None:
    message = "the store is being opened; send again"
    raise RefusedError(Refusal.UNAVAILABLE, message, MIN_RETRY_SECONDS)


@contextmanager
def naming(flag: str, kind: type[Exception] = FileError) -> Iterator[None]:
    """Raise HubError with the name of an option in place of an error of its value."""
    try:
        yield
    except kind as error:
        raise HubError(f"{flag}: {error}") from error


def tokens(flag: str, file: Path | None) -> Tokens | None:
    """The tokens of a file, if there is one. Raises HubError if it cannot be used."""
    with naming(flag):
        return Tokens(file) if file else None


def listen(flag: str, bind: Callable[[], Opened]) -> Opened:
    """The listener that `bind` opens at the address of an option. Raises HubError if it cannot listen there."""
    try:
        return bind()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise HubError(f"{flag}: cannot listen: {reason}; choose another port, or 0 for a free one") from error


def _otlp_listener(serve: type[Otlp], receiver: Receiver, settings: Settings) -> Otlp:
    """An OTLP listener. Raises HubError if its port is in use, or the certificate cannot be used."""
    flag, port = "--otlp-http-port", settings.otlp_http_port
    if serve is GrpcListener:
        flag, port = "--otlp-grpc-port", settings.otlp_grpc_port
    tls_files = None
    if settings.otlp_tls_cert and settings.otlp_tls_key:
        tls_files = TlsFiles(settings.otlp_tls_cert, settings.otlp_tls_key, settings.otlp_tls_client_ca)
    with naming("--otlp-tls-cert"):
        return listen(flag, lambda: serve(receiver, settings.otlp_host or settings.host, port, tls_files))
