"""`--recording`: a hub that stands at a recording's end. Metrics are read where they lie; spans go into a store."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from foreshock_dashboard.recording.errors import RecordingError
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.settings.settings import Settings, SettingsError
from foreshock_dashboard.store import Store

FOR_EVER = 100 * 365 * 86_400.0
"""Seconds for which nothing of a recording is too old."""
UNBOUNDED = 1 << 50
"""Bytes that no recording has."""
DEFAULTS = Settings()
ELSEWHERE = ("prometheus_url", "tempo_url", "jaeger_url", "targets")


@contextmanager
def open_recording(settings: Settings) -> Iterator[tuple[Settings, Recording | None]]:
    """The recording that the settings name, if any, and the settings of a hub over it: its time, a store of its own.

    Raises:
        SettingsError: something else to read from is named as well.
        RecordingError: it is no recording, or cannot be read.
    """
    if settings.recording is None:
        yield settings, None
        return
    if also := [name for name in ELSEWHERE if getattr(settings, name)]:
        raise SettingsError(f"recording, {', '.join(also)}: a hub reads from one of them; leave the others out")
    with (
        Recording(settings.recording) as recording,
        tempfile.TemporaryDirectory(prefix="foreshock-standing-") as folder,
    ):
        meta = recording.meta
        if meta.end is None:
            raise RecordingError(f"recording {settings.recording}: it holds neither a sample nor a span")
        usual = DEFAULTS.scrape_interval
        interval = settings.scrape_interval if settings.scrape_interval != usual else meta.scrape_interval or usual
        yield (
            replace(
                settings,
                otlp_grpc_port=_free(settings.otlp_grpc_port, "otlp_grpc_port"),  # it takes nothing in
                otlp_http_port=_free(settings.otlp_http_port, "otlp_http_port"),
                at=meta.end if settings.at is None else settings.at,
                scrape_interval=interval,
                store=Path(folder),
                retention=FOR_EVER,
                trace_retention=FOR_EVER,
                retention_size=UNBOUNDED,
            ),
            recording,
        )


def _free(port: int, name: str) -> int:
    """Any free port where none was chosen: beside a recording another hub may be running."""
    return 0 if port == getattr(DEFAULTS, name) else port


def load_spans(recording: Recording, store: Store) -> None:
    """Put a recording's spans into a store.

    Raises:
        SourceError: the recording cannot be read, or the store cannot keep them.
    """
    for spans in recording.spans():
        store.append_spans(spans)
        store.maintain()
