"""A hub over a recording adapts its step and rates to the recording's scrape interval."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest

from foreshock_dashboard.common.clock import clock_at
from foreshock_dashboard.hub.hub import Hub
from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.replay.recording_hub import open_recording
from foreshock_dashboard.settings.settings import Settings

START = 1_767_600_000.0
GPU = {"job": "foreshock-exporter", "instance": "h:1", "uuid": "a"}


class Write(Protocol):
    """Writes a recording of scrapes."""

    def __call__(self, batches: Sequence[SampleBatch]) -> Path: ...


def scrape(time: float) -> SampleBatch:
    """One GPU that is half busy."""
    target = labels_of({"job": GPU["job"], "instance": GPU["instance"]})
    samples = (
        Sample("up", target, 1.0),
        Sample("gpu_info", labels_of({**GPU, "gpu": "0", "model": "H100"}), 1.0),
        Sample("gpu_busy_seconds_total", labels_of(GPU), 0.5 * (time - START)),
    )
    return SampleBatch(time, GPU["instance"], samples)


@pytest.mark.parametrize(("interval", "step"), [(10.0, 10.0), (30.0, 30.0), (60.0, 60.0), (300.0, 300.0)])
def test_step_and_rates_follow_the_scrape_interval(write: Write, interval: float, step: float) -> None:
    """The step is at least one interval, and rates cover two samples."""
    path = write([scrape(START + i * interval + 0.25) for i in range(int(4800 / interval))])
    with ExitStack() as opened:
        own = Settings(recording=path, store_path=path.parent / "store", port=0, otlp_grpc_port=0, otlp_http_port=0)
        complete, recording = opened.enter_context(open_recording(own))
        hub = opened.enter_context(closing(Hub(complete, clock_at(complete.at), recording=recording)))
        hub.start()
        world = hub.snapshot.world

    assert world
    assert world.step == step
    assert set(np.diff(world.times)) == {step}
    np.testing.assert_allclose(world.utilization[0, -10:], 0.5, rtol=0.01)
