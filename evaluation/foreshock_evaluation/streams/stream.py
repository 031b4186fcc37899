"""Streams on disk: a folder with the samples of a system and the ground truth of each of its faults.

The recordings of one system overlap: each begins an hour before its fault. A stream has every sample once, without
spans, which no replay reads.
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson

from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.types import Bools, Floats, Json
from foreshock_dashboard.recording.meta import META, TRUTH, RecordingError, RecordingMeta
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.recording.writer import RecordingWriter
from foreshock_dashboard.store.samples.promql_functions import Ints
from foreshock_evaluation.streams.codec import SeriesSamples, decode, encode

SAMPLES, FAULTS = "samples.npz.xz", "faults.json"
SCRAPE_SECONDS = 10.0
"""Distance of scrapes in the laboratory."""


class Fault(NamedTuple):
    """A fault of a stream with its ground truth, and the name of its recording."""

    name: str
    truth: Json


def fault_of(truth: Json) -> Fault:
    """The fault of a `truth.json`.

    Raises:
        KeyError: it has another form.
    """
    return Fault(f"{truth['topology']}-{truth['kind']}-{truth['strength']}", truth)


def read_faults(folder: Path) -> list[Fault]:
    """The faults of a stream.

    Raises:
        OSError, ValueError, KeyError: they cannot be read.
    """
    return [fault_of(truth) for truth in orjson.loads((folder / FAULTS).read_bytes())]


def merge(recordings: Sequence[Path], out: Path) -> int:
    """Write the recordings of one system as a stream, which must not exist; returns the size of its samples in bytes.

    Raises:
        RecordingError: a recording cannot be read.
        OSError: the folder cannot be written.
    """
    truths = sorted((orjson.loads((path / TRUTH).read_bytes()) for path in recordings), key=lambda item: item["onset"])
    content = encode(_merged(recordings))
    out.mkdir(parents=True)
    (out / SAMPLES).write_bytes(content)
    (out / FAULTS).write_bytes(orjson.dumps(truths, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    return len(content)


def _merged(recordings: Iterable[Path]) -> Iterable[SeriesSamples]:
    """Series of several recordings; of equal times the first counts."""
    parts: dict[tuple[str, Labels], list[tuple[Ints, Floats]]] = {}
    for path in recordings:
        with Recording(path) as recording:
            times, values = recording.rows(0, recording.series[-1].last)
            for one in recording.series:
                part = slice(one.first, one.last)
                parts.setdefault((one.metric, one.labels), []).append((times[part], values[part]))
    for (metric, labels), found in parts.items():
        times, first = np.unique(np.concatenate([part for part, _ in found]), return_index=True)
        yield SeriesSamples(metric, labels, times, np.concatenate([part for _, part in found])[first])


def cut(folder: Path, name: str, out: Path) -> None:
    """Write the recording of a fault of a stream.

    Raises:
        RecordingError: the stream cannot be read, has no such fault, or `out` cannot be written.
    """
    try:
        truth = dict(read_faults(folder))[name]
        series = [*decode((folder / SAMPLES).read_bytes())]
    except (OSError, ValueError, KeyError, lzma.LZMAError) as error:
        raise RecordingError(f"stream {folder}: {name} cannot be read: {error}") from None
    meta = RecordingMeta(scenario=truth["kind"], seed=int(truth["seed"]), scrape_interval=SCRAPE_SECONDS)
    with RecordingWriter(out, meta) as writer:
        for one in series:
            inside = _is_inside(one.times / 1000.0, truth)
            if inside.any():
                number = writer.series(one.metric, one.labels)
                writer.add(np.full(int(inside.sum()), number, np.int32), one.times[inside], one.values[inside])
        writer.add_ground_truth(truth)


def _is_inside(times: Floats, truth: Json) -> Bools:
    """Which times (Unix seconds) the recording of a fault has: the time of earlier faults is left out."""
    inside: Bools = (times > truth["start"]) & (times <= truth["end"])
    for other in truth.get("faults") or ():
        inside &= (times <= other["start"]) | (times > other["end"])
    return inside


def ensure_cut(folder: Path, name: str, cache: Path) -> Path:
    """Path of the recording of a fault in a cache, cut out of its stream if missing.

    Raises:
        RecordingError: it cannot be cut.
    """
    content = zlib.crc32((folder / FAULTS).read_bytes(), zlib.crc32((folder / SAMPLES).read_bytes()))
    path = cache / f"{folder.name}-{content:08x}" / name
    if not (path / META).exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        cut(folder, name, path)
    return path
