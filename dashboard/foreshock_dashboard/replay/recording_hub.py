"""Recordings as the hub's read-only source: metrics are read in place, spans are copied into a temporary store."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from foreshock_dashboard.recording.meta import RecordingError
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.settings.settings import Settings, SettingsError
from foreshock_dashboard.store import Store

UNLIMITED_SECONDS = 100 * 365 * 86_400.0
"""Retention that keeps every sample and span of a recording."""
UNLIMITED_BYTES = 1 << 50
"""Disk budget above the size of any recording."""
DEFAULTS = Settings()
OTHER_SOURCES = ("prometheus_url", "tempo_url", "jaeger_url", "targets", "targets_file")


@contextmanager
def open_recording(settings: Settings) -> Iterator[tuple[Settings, Recording | None]]:
    """Open the recording of the settings, if any, and adapt the settings: the hub's time and a separate store.

    Raises:
        SettingsError: another source is configured as well.
        RecordingError: the folder is no recording, or cannot be read.
    """
    if settings.recording is None:
        yield settings, None
        return
    if others := [name for name in OTHER_SOURCES if getattr(settings, name)]:
        raise SettingsError(f"recording, {', '.join(others)}: a hub reads only one of them. Remove the others.")
    with (
        Recording(settings.recording) as recording,
        tempfile.TemporaryDirectory(prefix="foreshock-recording-") as folder,
    ):
        meta = recording.meta
        if meta.end is None:
            raise RecordingError(f"recording {settings.recording}: neither samples nor spans")
        interval = settings.scrape_interval
        if interval == DEFAULTS.scrape_interval:
            interval = recording.scrape_interval(interval) if meta.scrape_interval else interval
        yield (
            replace(
                settings,
                otlp_grpc_port=_free_port(settings.otlp_grpc_port, "otlp_grpc_port"),
                otlp_http_port=_free_port(settings.otlp_http_port, "otlp_http_port"),
                at=meta.end if settings.at is None else settings.at,
                scrape_interval=interval,
                store_path=Path(folder),
                retention_metrics=UNLIMITED_SECONDS,
                retention_traces=UNLIMITED_SECONDS,
                retention_size=UNLIMITED_BYTES,
            ),
            recording,
        )


def _free_port(port: int, name: str) -> int:
    """Any free port unless one is configured: another hub may run on this machine, and this one takes nothing in."""
    return 0 if port == getattr(DEFAULTS, name) else port


def load_spans(recording: Recording, store: Store, until: float | None = None) -> None:
    """Append a recording's spans to a store. until: of those that had ended by then, as spans are sent at their end.

    Raises:
        SourceError: the recording cannot be read, or the store cannot be written.
    """
    for spans in recording.spans():
        store.append_spans([span for span in spans if until is None or span.end_ns <= until * 1e9])
        store.maintain()
