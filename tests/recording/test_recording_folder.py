"""The folder of a recording: data is returned as written, folders are complete, equal input gives equal bytes."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import soak

from foreshock_dashboard.model.samples import STALE, Labels, Sample, SampleBatch, is_stale, labels_of
from foreshock_dashboard.model.span import Event, Link, Span
from foreshock_dashboard.recording import meta as files
from foreshock_dashboard.recording.meta import RecordingError, RecordingMeta
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.recording.writer import RecordingWriter
from foreshock_dashboard.replay.recording_hub import load_spans
from foreshock_dashboard.replay.replay import sample_range
from foreshock_dashboard.store import Store

if TYPE_CHECKING:
    from tests.recording.conftest import Rows, Write

T0 = 1_790_000_000
Open = Callable[[Path], Recording]
Read = Callable[[Path], "Rows"]


def scrapes(count: int = 5, pods: str = "ab") -> list[SampleBatch]:
    return [
        SampleBatch(
            T0 + 10 * k + 0.25,
            "t",
            tuple(Sample(metric, labels_of({"pod": pod}), 1.5 * k) for pod in pods for metric in ("up", "m_total")),
        )
        for k in range(count)
    ]


def span(number: int = 1, **fields: Any) -> Span:  # noqa: ANN401 - fields
    made = Span(
        trace_id=f"{number % 7 + 1:032x}",
        span_id=f"{number:016x}",
        parent_id="" if number % 3 else "00000000000000aa",
        name="GET /",
        kind="server",
        start_ns=T0 * 10**9 + number * 10**6,
        end_ns=T0 * 10**9 + number * 10**6 + 500,
        status="unset",
        status_message="",
        resource={"service.name": "gateway", "service.namespace": "edge"},
        attributes={"http.route": "/", "n": number},
    )
    return replace(made, **fields)


def test_a_hub_at_an_instant_has_the_spans_that_had_ended_by_then(tmp_path: Path) -> None:
    """As a live hub had: a span is sent at its end."""
    ended, running = span(1), span(2, end_ns=(T0 + 9) * 10**9)
    with RecordingWriter(tmp_path / "recording") as writer:
        writer.add_spans([ended, running])
    with (
        closing(Store.open(tmp_path / "store", now=lambda: float(T0))) as store,
        Recording(tmp_path / "recording") as recording,
    ):
        load_spans(recording, store, until=T0 + 5.0)
        assert [len(store.get(item.trace_id)) for item in (ended, running)] == [1, 0]


RICH = span(
    3,
    kind="client",
    status="error",
    status_message="it broke",
    scope="lib",
    trace_state="a=b",
    attributes={"text": "ü→\u2028", "whole": -5, "part": 0.25, "yes": True, "list": ["a", 1], "raw": b"\x00\xff"},
    events=(Event(T0 * 10**9, "exception", {"exception.type": "E"}),),
    links=(Link("ab" * 16, "cd" * 8, {"why": "batch"}),),
)


def test_samples_are_returned_by_series_and_time(write: Write, rows: Read) -> None:
    """Whatever the order in which they were written."""
    batches = scrapes()
    chance = random.Random(1)
    shuffled = chance.sample(batches, len(batches))
    contents = rows(write(shuffled))
    assert list(contents) == sorted(contents)
    assert contents["m_total", (("pod", "b"),)] == [(T0 * 1000 + 10_000 * k + 250, 1.5 * k) for k in range(5)]


def test_values_are_returned_bit_for_bit(write: Write, rows: Read) -> None:
    """Including extreme values and the staleness marker."""
    values = [0.1, -0.0, 1e-310, 2.0**53 + 2, math.inf, -math.inf, math.nan, STALE, 1e300]
    contents = rows(write([SampleBatch(T0 + k, "t", (Sample("m", (), value),)) for k, value in enumerate(values)]))
    ((_, samples),) = contents.items()
    assert np.array([value for _, value in samples]).view(np.int64).tolist() == np.array(values).view(np.int64).tolist()
    assert [is_stale(value) for _, value in samples].index(True) == 7


def test_of_samples_with_equal_times_the_first_counts(write: Write, rows: Read) -> None:
    """As in the embedded store."""
    twice = [SampleBatch(T0, "t", (Sample("m", (), value),)) for value in (1.0, 2.0)]
    assert rows(write(twice)) == {("m", ()): [(T0 * 1000, 1.0)]}


def test_spans_are_returned_completely(write: Write, opened: Open) -> None:
    """By trace and start, with attributes of every type, events, links, scope and resource."""
    spans = [span(number) for number in range(20, 0, -1)]
    spans[-3] = RICH
    contents = [one for some in opened(write(spans=spans)).spans() for one in some]
    assert contents == sorted(spans, key=lambda one: (one.trace_id, one.start_ns))


def test_the_metadata_describes_the_data(write: Write, opened: Open) -> None:
    """Times, counts, and the scrape interval in the data."""
    meta = opened(write(scrapes(6), [span()], meta=RecordingMeta(scenario="outage", seed=7, simulated=True))).meta
    assert (meta.start, meta.end) == (T0 + 0.25, T0 + 50.25)
    assert (meta.samples, meta.series, meta.spans, meta.scrape_interval) == (24, 4, 1, 10.0)
    assert (meta.scenario, meta.seed, meta.simulated) == ("outage", 7, True)


def test_equal_input_gives_equal_bytes(write: Write) -> None:
    """File by file."""
    batches, spans = scrapes(300, "abcdefgh"), [span(number) for number in range(1, 3000)]
    one, other = write(batches, spans, "one"), write(batches, spans, "other")
    assert sorted(file.name for file in one.iterdir()) == [files.META, files.METRICS, files.SPANS]
    for file in one.iterdir():
        assert file.read_bytes() == (other / file.name).read_bytes(), file.name


def test_more_samples_than_memory_are_written(tmp_path: Path, opened: Open) -> None:
    """They are spilled to disk; the recording is the same."""
    for memory in ("40MB", "1GB"):
        with RecordingWriter(tmp_path / memory, memory=memory) as writer:
            numbers = np.array([writer.series("m", (("n", str(n)),)) for n in range(1000)], np.int32)
            for at in range(2_200):
                writer.add(numbers, np.full(1000, at * 1000), np.sin(numbers + at))
    assert opened(tmp_path / "40MB").meta.samples == 2_200_000
    assert (tmp_path / "40MB" / files.METRICS).read_bytes() == (tmp_path / "1GB" / files.METRICS).read_bytes()


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
NAMES = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,6}", fullmatch=True)


@settings(
    max_examples=settings().max_examples // 5,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    data=st.dictionaries(
        st.tuples(NAMES, st.dictionaries(NAMES, TEXT, max_size=3).map(labels_of)),
        st.dictionaries(st.integers(-(10**13), 10**13), st.floats(allow_nan=False), min_size=1, max_size=5),
        min_size=1,
        max_size=6,
    ),
    seed=st.integers(0, 100),
)
def test_any_samples_are_returned_as_written(
    data: dict[tuple[str, Labels], dict[int, float]], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In any order."""
    single = [(key, time, value) for key, samples in data.items() for time, value in samples.items()]
    random.Random(seed).shuffle(single)
    path = tmp_path_factory.mktemp("any") / "recording"
    with RecordingWriter(path) as writer:
        for key, time, value in single:
            writer.add(np.array([writer.series(*key)], np.int32), np.array([time]), np.array([value]))
    with Recording(path) as recording:
        contents: dict[tuple[str, Labels], dict[int, float]] = {}
        for piece in recording.samples():
            for row, time, value in zip(piece.series, piece.times.tolist(), piece.values.tolist(), strict=True):
                series = recording.series[row]
                contents.setdefault((series.metric, series.labels), {})[time] = value
    assert contents == data


# --- recordings of other tools

LABELS = {"text": "'{\"pod\":\"' || pod || '\"}'", "map": "map {'pod': pod, 'none': null}", "struct": "{'pod': pod}"}
TIMES = {
    "milliseconds": "ms", "seconds": "ms / 1000.0::double", "timestamp": "make_timestamp_ms(ms)",
    "timestamp in ms": "make_timestamp_ms(ms)::timestamp_ms", "with a zone": "to_timestamp(ms / 1000.0::double)",
}  # fmt: skip


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("order", ["ms", *soak("pod, ms"), "hash(ms, pod)"])
def test_recordings_of_other_tools_are_read(
    tmp_path: Path, rows: Read, write: Write, labels: str, time: str, order: str
) -> None:
    """Whatever their types of labels and times, and the order of their samples."""
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / files.META).write_text('{"format": "foreshock-recording", "version": 2}')
    query = f"""
    copy (select 'm' as metric, {LABELS[labels]} as labels, {TIMES[time]} as timestamp, value::float as value
      from (select pod, {T0 * 1000} + 10000 * k + 250 as ms, k * 2 as value
            from unnest(['a', 'b', 'c']) p(pod), range(40) r(k)) order by {order})
    to '{folder / files.METRICS}' (format parquet)
    """  # noqa: S608 - a test's constants
    with duckdb.connect() as other:
        other.execute("set timezone = 'America/New_York'")
        other.execute(query)
    ours = [
        SampleBatch(T0 + 10 * k + 0.25, "t", tuple(Sample("m", (("pod", pod),), 2.0 * k) for pod in "abc"))
        for k in range(40)
    ]
    assert rows(folder) == rows(write(ours))
    with Recording(folder) as recording:
        assert (recording.meta.start, recording.meta.end) == (T0 + 0.25, T0 + 390.25)


# --- what goes wrong


def damage(path: Path, what: str) -> None:
    metrics, meta = path / files.METRICS, path / files.META
    content = json.loads(meta.read_text())
    match what:
        case "a flipped bit":
            body = bytearray(metrics.read_bytes())
            body[len(body) // 2] ^= 1
            metrics.write_bytes(body)
        case "a cut file":
            metrics.write_bytes(metrics.read_bytes()[:-10])
        case "a missing file":
            (path / files.SPANS).unlink()
        case "no meta.json":
            meta.unlink()
        case "half a meta.json":
            meta.write_text(meta.read_text()[:40])
        case "an unknown version":
            meta.write_text(json.dumps({**content, "version": 0}))
        case "a newer version":
            meta.write_text(json.dumps({**content, "version": 3}))
        case "another format":
            meta.write_text('{"format": "parquet dataset"}')
        case "a list":
            meta.write_text("[]")
        case "nonsense in it":
            meta.write_text(json.dumps({**content, "files": {"metrics.parquet": 7}}))
        case "nothing but meta.json":
            metrics.unlink()
            (path / files.SPANS).unlink()
        case "a time in no year":
            meta.write_text(json.dumps({**content, "start": -1e13}))
        case "a negative scrape interval":
            meta.write_text(json.dumps({**content, "scrape_interval": -5}))
        case "an infinite count":
            meta.write_text(json.dumps({**content, "samples": "inf"}))
        case "a large meta.json":
            meta.write_text(json.dumps({**content, "x": "x" * files.MAX_META_BYTES}))
        case "a pipe":
            meta.write_text(json.dumps({**content, "files": {"pipe": {"bytes": 0, "crc32": "0"}}}))
            os.mkfifo(path / "pipe")
        case "a pipe of samples":
            meta.write_text(json.dumps({**content, "files": {}}))
            metrics.unlink()
            os.mkfifo(metrics)
        case "a device":
            metrics.unlink()
            metrics.symlink_to("/dev/zero")
        case "meta.json is a pipe":
            meta.unlink()
            os.mkfifo(meta)
        case "no Parquet":
            metrics.write_text("metric,labels")
            meta.write_text(json.dumps({**content, "files": {}}))


DAMAGE = {
    "a flipped bit": "metrics.parquet is damaged .* copy it again",
    "a cut file": "metrics.parquet is damaged",
    "a missing file": "spans.parquet: No such file or directory; copy the whole folder",
    "no meta.json": "was not written to its end; record or import it again",
    "half a meta.json": "meta.json cannot be read",
    "an unknown version": "version 0, and this foreshock reads up to 2; replay it with the foreshock version",
    "a newer version": "version 3, and this foreshock reads up to 2; .* or record or simulate it again",
    "another format": "it is not a recording",
    "a list": "it is not a recording",
    "nonsense in it": "meta.json has an invalid value",
    "a time in no year": "invalid value: -10000000000000.0 is not a number from -1e\\+12 to 1e\\+12",
    "a negative scrape interval": "invalid value: -5 is not a number from 0.001 to 1e\\+12",
    "an infinite count": "invalid value: inf is not a number",
    "a large meta.json": "meta.json cannot be read: .*larger than 1 MiB",
    "a pipe": "pipe: not a regular file; copy the whole folder",
    "a pipe of samples": "metrics.parquet: not a regular file",
    "a device": "metrics.parquet: not a regular file",
    "meta.json is a pipe": "meta.json cannot be read: .*not a regular file",
    "nothing but meta.json": "neither metrics.parquet nor spans.parquet is there",
    "no Parquet": "cannot be read: .*; copy or record it again",
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_recording_that_cannot_be_read_is_named_with_the_remedy(write: Write, what: str) -> None:
    """Damaged, foreign, newer or incomplete."""
    path = write(scrapes(), [span()])
    damage(path, what)
    with pytest.raises(RecordingError, match=DAMAGE[what]) as caught:
        Recording(path)
    assert str(caught.value).startswith(f"recording {path}: ")


def test_a_folder_without_a_recording_is_named(tmp_path: Path) -> None:
    """Missing, or with other content."""
    with pytest.raises(RecordingError, match="there is no such folder"):
        Recording(tmp_path / "nowhere")
    with pytest.raises(RecordingError, match="it is not a recording"):
        Recording(tmp_path)


@pytest.mark.parametrize(
    ("select", "message"),
    [
        ("'m' as metric, '{}' as labels, 0 as time, 0.0 as value", "has no column timestamp"),
        ("'m' as metric, '{}' as labels, 'now' as timestamp, 0.0 as value", "timestamp of metrics.parquet is VARCHAR"),
        ("'m' as metric, 'a=b' as labels, 0::bigint as timestamp, 0.0 as value", "neither a map nor a JSON object"),
    ],
)
def test_samples_with_wrong_columns_are_refused(tmp_path: Path, select: str, message: str) -> None:
    """The error names the problem."""
    (tmp_path / files.META).write_text('{"format": "foreshock-recording", "version": 2}')
    with duckdb.connect() as other:
        other.execute(f"copy (select {select}) to '{tmp_path / files.METRICS}' (format parquet)")
    with pytest.raises(RecordingError, match=message):
        Recording(tmp_path)


def test_samples_too_far_apart_for_rates_are_refused(write: Write) -> None:
    up = (Sample("up", labels_of({"pod": "a"}), 1.0),)
    path = write([SampleBatch(T0 + 30_000 * k, "t", up) for k in range(3)])
    content = json.loads((path / files.META).read_text())
    (path / files.META).write_text(json.dumps({name: content[name] for name in ("format", "version")}))
    message = "its samples are 8.33 h apart; the analysis needs one every 6 h at least"
    with pytest.raises(RecordingError, match=message), Recording(path) as recording:
        recording.scrape_interval(default=10.0)


def test_an_existing_folder_is_not_overwritten(write: Write) -> None:
    """Not even by a recording."""
    path = write(scrapes())
    before = (path / files.META).read_bytes()
    with pytest.raises(RecordingError, match="exists and is not empty; remove it or name another folder"):
        write(scrapes(2))
    assert (path / files.META).read_bytes() == before


def test_a_failed_recording_leaves_nothing(tmp_path: Path) -> None:
    """Neither the folder nor the temporary one."""
    with suppress(KeyError), RecordingWriter(tmp_path / "recording") as writer:
        writer.add(np.array([writer.series("m", ())], np.int32), np.array([0]), np.array([1.0]))
        raise KeyError
    assert list(tmp_path.iterdir()) == []


ENDLESS = """
import sys, numpy as np
from pathlib import Path
from foreshock_dashboard.recording.writer import RecordingWriter
from foreshock_dashboard.replay.replay import sample_range
from foreshock_dashboard.store import Store
with RecordingWriter(Path(sys.argv[1])) as writer:
    number = writer.series("m", ())
    for at in range(1 << 40):
        writer.add(np.full(100_000, number, np.int32), np.arange(100_000) + at * 100_000, np.zeros(100_000))
        print("on", flush=True)
"""


def test_a_killed_recording_does_not_appear(tmp_path: Path) -> None:
    """Its temporary folder is not a valid recording."""
    path = tmp_path / "recording"
    with subprocess.Popen([sys.executable, "-c", ENDLESS, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout
        for _ in range(7):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    assert not path.exists()
    (aside,) = tmp_path.iterdir()
    with pytest.raises(RecordingError, match="it is not a recording"):
        Recording(aside)


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    """A file has its name."""
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RecordingError, match="file/recording: cannot be written"),
        RecordingWriter(tmp_path / "file" / "recording"),
    ):
        pass


def test_readers_never_open_the_ground_truth(write: Write, rows: Read) -> None:
    """Opening it would block here for ever."""
    path = write(scrapes(), [span()])
    os.mkfifo(path / files.TRUTH)
    assert len(rows(path)) == 4


def test_a_recording_may_spill_as_much_as_the_disk_holds(tmp_path: Path) -> None:
    """A store is limited to two gigabytes."""
    query = "select current_setting('max_temp_directory_size')"
    opened = Store.open(tmp_path / "store", now=lambda: T0)
    with RecordingWriter(tmp_path / "day") as writer, closing(opened) as store:
        bounds = [engine.execute(query).fetchall()[0][0] for engine in (writer._engine, store._engine)]

    assert bounds == ["90% of available disk space", "1.8 GiB"]


def test_a_recording_with_a_time_in_another_century_is_not_evaluated(write: Write) -> None:
    """Its grid would have a hundred million points."""
    up = (Sample("up", labels_of({"pod": "a"}), 1.0),)
    path = write([SampleBatch(time, "t", up) for time in (0.0, 10.0, 3e9)])
    with pytest.raises(RecordingError, match="34,722 days are too long"), Recording(path) as recording:
        sample_range(recording, None)
