"""OpenMetrics with timestamps, from and to recordings, compared with the real promtool and Prometheus."""

from __future__ import annotations

import io
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foreshock_dashboard.model.query import Query
from foreshock_dashboard.model.samples import STALE, Labels, Sample, SampleBatch, labels_of
from foreshock_dashboard.recording import openmetrics
from foreshock_dashboard.recording.meta import RecordingError
from foreshock_dashboard.recording.metrics import RecordedMetrics
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.recording.writer import RecordingWriter
from foreshock_dashboard.sources.prometheus.api import PrometheusSource

if TYPE_CHECKING:
    from tests.recording.conftest import Foreshock, Rows, Write

T0 = 1_790_000_000
Open = Callable[[Path], Recording]
Read = Callable[[Path], "Rows"]
Promtool = Callable[..., str]
Samples = list[tuple[str, Labels, int, float]]


def parsed(text: str | bytes) -> Samples:
    """All samples of a text."""
    named: dict[tuple[str, Labels], int] = {}

    def number(metric: str, labels: Labels) -> int:
        return named.setdefault((metric, labels), len(named))

    body = text if isinstance(text, bytes) else text.encode()
    samples: Samples = []
    for series, times, values in openmetrics.parse(io.BytesIO(body), "in.om", number):
        names = list(named)
        samples += [
            (*names[at], time, value)
            for at, time, value in zip(series.tolist(), times.tolist(), values.tolist(), strict=True)
        ]
    return samples


LINES: dict[str, tuple[str, tuple[str, dict[str, str], int, float]]] = {
    "plain": ("up 1 12", ("up", {}, 12_000, 1.0)),
    "no labels in braces": ("up{} 1 12", ("up", {}, 12_000, 1.0)),
    "as promtool dumps": ('up{a="b", c="d"} 1 12.500', ("up", {"a": "b", "c": "d"}, 12_500, 1.0)),
    "a colon": ('vllm:x{a="b"} 1 12', ("vllm:x", {"a": "b"}, 12_000, 1.0)),
    "spaces in a value": ('m{a="x 1 2"} 3 4', ("m", {"a": "x 1 2"}, 4000, 3.0)),
    "braces and hashes in a value": ('m{a="}{# 5"} 3 4', ("m", {"a": "}{# 5"}, 4000, 3.0)),
    "escapes": (r'm{a="q\"b\\n\n"} 3 4', ("m", {"a": 'q"b\\n\n'}, 4000, 3.0)),
    "Go's escapes": (r'm{a="\t\x00\u2028\U0001f642"} 3 4', ("m", {"a": "\t\x00\u2028🙂"}, 4000, 3.0)),
    "an empty label is none": ('m{a="",b="c"} 3 4', ("m", {"b": "c"}, 4000, 3.0)),
    "a comma at the end": ('m{a="b",} 3 4', ("m", {"a": "b"}, 4000, 3.0)),
    "an exemplar": ('m{a="b"} 3 4 # {trace_id="0a"} 0.5 4.1', ("m", {"a": "b"}, 4000, 3.0)),
    "infinity": ("m -Inf 4", ("m", {}, 4000, -math.inf)),
    "an exponent": ("m 1.5e+09 1.79e9", ("m", {}, T0 * 1000, 1.5e9)),
    "before 1970": ("m 1 -4.25", ("m", {}, -4250, 1.0)),
}


@pytest.mark.parametrize("what", LINES)
def test_a_line_is_parsed(what: str) -> None:
    """As the first line of its series, and as a later one."""
    line, (metric, labels, time, value) = LINES[what]
    assert parsed(f"# TYPE x counter\n{line}\n\n{line}\r\n# EOF\n") == [(metric, labels_of(labels), time, value)] * 2


BAD: dict[str, tuple[str | bytes, str]] = {
    "no sample": ("???", "is not a sample: '\\?\\?\\?'"),
    "no time": ("up 1", "missing timestamp; append it in Unix seconds"),
    "no value": ('up{a="b"}', "is not a sample"),
    "a bad value": ("up one 1", "'one' is not a number"),
    "Python's numbers": ("up 1_0 1", "'1_0' is not a number"),
    "a bad time": ("up 1 now", "'now' is not a number"),
    "no time that there is": ("up 1 1e30", "1e\\+30 is not a time in seconds"),
    "a time that is none": ("up 1 NaN", "nan is not a time in seconds"),
    "an open label": ('up{a="b} 1 1', "is not a sample"),
    "labels without a comma": ('up{a="b" c="d"} 1 1', "malformed labels"),
    "a label twice": ('up{a="b",a="c"} 1 1', "label 'a' twice"),
    "one word too many": ('up{a="b"} 1 1 1', "is not a sample"),
    "not UTF-8": (b'up{a="\xff"} 1 1', "is not UTF-8"),
    "a line without end": ("x" * (openmetrics.MAX_LINE_BYTES + 1), "longer than"),
    "more after the end": ("# EOF", "the file goes on after # EOF"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_malformed_line_is_named(what: str) -> None:
    """File, line and problem; also for a known series."""
    line, message = BAD[what]
    body = b'up 5 1\nup{a="b"} 5 1\n' + (line if isinstance(line, bytes) else line.encode()) + b"\nup 5 1\n# EOF\n"
    with pytest.raises(RecordingError, match=message) as caught:
        parsed(body)
    assert str(caught.value).startswith(f"in.om:{4 if what == 'more after the end' else 3}: ")


@pytest.mark.parametrize("text", ["", "up 1 1\n", "up 1 1\n# EO", "up 1 1\n# TYPE up gauge\n"])
def test_a_truncated_file_is_refused(text: str) -> None:
    """It lacks the end marker."""
    with pytest.raises(RecordingError, match="missing # EOF: the file is truncated"):
        parsed(text)


VALUE = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
NAME = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,6}", fullmatch=True).filter(lambda name: name != "__name__")
SERIES = st.tuples(NAME, st.dictionaries(NAME, VALUE, max_size=3).map(labels_of))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    data=st.dictionaries(
        SERIES,
        st.dictionaries(st.integers(-(10**12), 10**13), st.floats(), min_size=1, max_size=4),
        min_size=1,
        max_size=5,
    )
)
def test_an_export_is_imported_unchanged(
    data: dict[tuple[str, Labels], dict[int, float]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Names, labels, times and values are exact."""
    path = tmp_path_factory.mktemp("any") / "recording"
    with RecordingWriter(path) as writer:
        for key, of_series in data.items():
            series = np.full(len(of_series), writer.series(*key), np.int32)
            writer.add(series, np.array([*of_series], np.int64), np.array([*of_series.values()]))
    with Recording(path) as recording:
        file = io.BytesIO()
        sum(openmetrics.write(recording, file))
    samples: dict[tuple[str, Labels], dict[int, float]] = {}
    for metric, labels, time, value in parsed(file.getvalue()):
        samples.setdefault((metric, labels), {})[time] = value
    assert {key: repr(sorted(of_series.items())) for key, of_series in samples.items()} == {
        key: repr(sorted(of_series.items())) for key, of_series in data.items()
    }


@given(st.text(max_size=60))
def test_any_text_gives_samples_or_a_recording_error(text: str) -> None:
    try:
        samples = parsed(text + "\n# EOF\n")
    except RecordingError as error:
        samples, message = None, str(error)
    assert samples is not None or message.startswith("in.om:")


def platform() -> list[SampleBatch]:
    """Ten minutes of counters with a reset, gauges, a histogram and extreme values."""
    chance = random.Random(3)
    counter = dict.fromkeys("abc", 0.0)
    buckets = [0.0, 0.0, 0.0]
    batches = []
    for k in range(60):
        samples = []
        for pod in counter:
            counter[pod] = 0.0 if (pod, k) == ("b", 30) else counter[pod] + chance.choice([0.1, 1, 2.5])
            at = labels_of({"pod": pod, "path": 'C:\\a "b"\n→'})
            samples += [Sample("req_total", at, counter[pod]), Sample("load", at, chance.gauss(0, 1e-9) * 1e6)]
        for at_, bound in enumerate(("0.5", "2.0", "+Inf")):
            buckets[at_] += chance.randrange(at_ + 2) + (buckets[at_ - 1] - buckets[at_] if at_ else 0)
            buckets[at_] = max(buckets[: at_ + 1])
            samples.append(Sample("lat_bucket", (("le", bound),), buckets[at_]))
        samples += [Sample("vllm:odd", (), chance.choice([math.inf, -math.inf, 1e300, 5e-324, 2.0**60]))]
        batches.append(SampleBatch(T0 + 10 * k + 0.137, "t", tuple(s for s in samples if chance.random() > 0.03)))
    return batches


QUERIES = [
    Query("load", window=23),
    Query("vllm:odd", window=23),
    Query("req_total", reduce="rate", window=59),
    Query("req_total", reduce="increase", by=("path",), window=119),
    Query("lat", reduce="buckets", by=(), window=59),
]


def test_prometheus_over_an_export_answers_like_the_recording(
    write: Write,
    opened: Open,
    tmp_path: Path,
    foreshock: Foreshock,
    promtool: Promtool,
    prometheus_over: Callable[[Path], str],
) -> None:
    """Export, `promtool tsdb create-blocks-from openmetrics`, and a real server."""
    path = write(platform())
    assert foreshock("recording", "export", path, "--openmetrics", tmp_path / "out.om") == 0, foreshock.said
    promtool("tsdb", "create-blocks-from", "openmetrics", tmp_path / "out.om", tmp_path / "data")
    ours, theirs = RecordedMetrics(opened(path)), PrometheusSource(prometheus_over(tmp_path / "data"))
    for query in QUERIES:
        recorded, other = (source.fetch(query, T0 + 5, T0 + 640, 7) for source in (ours, theirs))
        assert recorded.labels == other.labels, query
        assert len(recorded), query
        np.testing.assert_allclose(recorded.values, other.values, rtol=1e-9, equal_nan=True, err_msg=str(query))
    assert ours.metric_names() == theirs.metric_names()
    theirs.close()


def test_a_dump_of_a_real_database_survives_import_and_export(
    write: Write, rows: Read, tmp_path: Path, foreshock: Foreshock, promtool: Promtool
) -> None:
    """The samples are equal, and so is a dump of blocks made from the export."""
    path = write(platform())
    foreshock("recording", "export", path, "--openmetrics", tmp_path / "one.om")
    promtool("tsdb", "create-blocks-from", "openmetrics", tmp_path / "one.om", tmp_path / "data")
    (tmp_path / "data" / "wal").mkdir()
    dump = promtool("tsdb", "dump-openmetrics", f"--sandbox-dir-root={tmp_path}", tmp_path / "data")
    (tmp_path / "dump.om").write_text(dump)
    assert (
        foreshock("recording", "import", "--openmetrics", tmp_path / "dump.om", "--output-dir", tmp_path / "again") == 0
    ), foreshock.said
    assert rows(tmp_path / "again") == rows(path)
    foreshock("recording", "export", tmp_path / "again", "--openmetrics", tmp_path / "two.om")
    assert (tmp_path / "two.om").read_bytes() == (tmp_path / "one.om").read_bytes()


def test_staleness_markers_are_not_exported(write: Write, foreshock: Foreshock, tmp_path: Path) -> None:
    """As in promtool; NaN values are exported."""
    values = (1.0, STALE, math.nan)
    path = write([SampleBatch(T0 + k, "t", (Sample("m", (), value),)) for k, value in enumerate(values)])
    foreshock("recording", "export", path, "--openmetrics", tmp_path / "out.om")
    assert (tmp_path / "out.om").read_text() == f"m 1.0 {T0}.000\nm NaN {T0 + 2}.000\n# EOF\n"
