"""A target's page of metrics is read exactly, or refused with the line that is wrong."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from foreshock_dashboard.ingest.span_metrics.exposition import render_families
from foreshock_dashboard.model.samples import Sample, labels_of
from foreshock_dashboard.sources.prometheus.text_format import SeriesCache, parse

TARGET = {"job": "gpus", "instance": "host-1:10877"}


def sample(metric: str, value: float, **labels: str) -> Sample:
    """A sample with the target's labels."""
    return Sample(metric, labels_of({**TARGET, **labels}), value)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("up 1", sample("up", 1)),
        ("  up\t1\r", sample("up", 1)),
        ("up{} 1", sample("up", 1)),
        ('up {a="1"} 2 1395066363000', sample("up", 2, a="1")),
        ('up{a="1",} 2', sample("up", 2, a="1")),
        ('up{ a = "1" , b = "2" } 2', sample("up", 2, a="1", b="2")),
        ('up{a="}"}3', sample("up", 3, a="}")),
        (r'path{p="C:\\DIR\"x\"\n{"} 1', sample("path", 1, p='C:\\DIR"x"\n{')),
        (r'path{p="\\n"} 1', sample("path", 1, p="\\n")),
        (r'path{p="\t"} 1', sample("path", 1, p="\\t")),
        ('up{a="",b="x"} 1', sample("up", 1, b="x")),
        ("ns:rule_total +Inf", sample("ns:rule_total", math.inf)),
        ("x -Inf", sample("x", -math.inf)),
        ("x -1.5e-9", sample("x", -1.5e-9)),
        ("x .5", sample("x", 0.5)),
        ('h_bucket{le="+Inf"} 3 # {trace_id="ab"} 0.5 1600000000.0', sample("h_bucket", 3, le="+Inf")),
        ('x{é_="1"} 1', None),
        ('x{a="é 日本"} 1', sample("x", 1, a="é 日本")),
        ('x{instance="mine",job="theirs"} 1', sample("x", 1, exported_instance="mine", exported_job="theirs")),
        ('x{job="a",exported_job="b"} 1', sample("x", 1, exported_exported_job="a", exported_job="b")),
        ('x{job=""} 1', sample("x", 1)),
        ("<!DOCTYPE html>", None),
        ("up", None),
        ("up1", None),
        ("up 1 2 3", None),
        ("up one", None),
        ("up 1_000", None),
        ("up 0x10", None),
        ("1up 1", None),
        ('up{a="1" 1', None),
        ("up{a=1} 1", None),
        ('up{a="1" b="2"} 1', None),
        ('up{a="1",a="2"} 1', None),
        ("up{,} 1", None),
        ('up{__name__="down"} 1', None),
        ('{"my.metric"} 1', None),
    ],
)
def test_a_line_is_a_sample_or_is_named(line: str, expected: Sample | None) -> None:
    """`honor_labels: false`: what the target calls itself yields to what it is called here."""
    text = f"# HELP up Whether.\n# TYPE up gauge\n{line}\n"
    if expected is None:
        with pytest.raises(ValueError, match=r"^line 3: "):
            parse(text, TARGET)
    else:
        assert parse(text, TARGET) == (expected,)


def test_not_a_number_is_a_value() -> None:
    """A target may say that it does not know."""
    (only,) = parse("x NaN\n", {})
    assert math.isnan(only.value)


def test_an_empty_page_has_no_samples() -> None:
    """A target without series is up."""
    assert parse("", TARGET) == parse("# EOF\n", TARGET) == ()


def test_of_two_samples_for_one_series_the_first_holds() -> None:
    """As in Prometheus."""
    assert parse('x{a="1"} 1\nx{ a="1" } 2\n', TARGET) == (sample("x", 1, a="1"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("".join(f"x{n} 1\n" for n in range(11)), "line 11: more than 10 series"),
        ('x{a="' + "v" * 5000 + '"} 1', "line 1: a label is longer than 4096"),
        ("x{" + ",".join(f'a{n}="1"' for n in range(65)) + "} 1", "line 1: more than 64 labels"),
    ],
)
def test_a_page_beyond_a_limit_is_refused(text: str, message: str) -> None:
    """No target can fill the hub's memory."""
    with pytest.raises(ValueError, match=message):
        parse(text, TARGET, max_series=10)


def test_the_series_of_a_target_share_their_label_pairs() -> None:
    """Of a thousand GPUs, separate ones would take most of the hub's memory."""
    one, other = parse('m{gpu="GPU-1",le="1"} 1\nm{gpu="GPU-1",le="2"} 2', {"job": "exporter"})
    assert [pair is also for pair, also in zip(one.labels, other.labels, strict=True)] == [True, True, False]


def test_metrics_of_one_entity_share_their_labels() -> None:
    """A GPU has dozens of metrics with the same labels."""
    known = SeriesCache()
    (one,) = parse('m{gpu="0"} 1', TARGET, known)
    samples = parse('m{gpu="0"} 1\nn{gpu="0"} 1\no{gpu="0"} 1', TARGET, known)
    assert all(each.labels is one.labels for each in samples)


def test_a_later_series_of_a_target_shares_the_label_pairs_of_earlier_ones() -> None:
    """New pods of a rollout come one page after another."""
    known = SeriesCache()
    (one,) = parse('m{pod="a",namespace="shop"} 1', TARGET, known)
    one_later, other = parse('m{pod="a",namespace="shop"} 2\nm{pod="b",namespace="shop"} 1', TARGET, known)
    assert one_later.labels is one.labels
    shared = [pair[0] for pair, also in zip(one.labels, other.labels, strict=True) if pair is also]
    assert shared == ["instance", "job", "namespace"]


def test_the_series_cache_does_not_change_results() -> None:
    """It only spares work; series that are gone are forgotten."""
    known = SeriesCache()
    first = parse('x{a="1"} 1\ny 2\n', TARGET, known)
    assert parse('x{a="1"} 1\ny 2\n', TARGET, known) == first
    assert parse('x{a="1"} 5\n', TARGET, known) == (sample("x", 5, a="1"),)
    assert known.metrics == ["x"]


@given(st.lists(st.lists(st.sampled_from("abcdef"), max_size=8), min_size=2, max_size=5))
def test_a_page_in_another_order_than_before_has_the_same_samples(pages: list[list[str]]) -> None:
    """Series come, go, move, and are repeated."""
    known = SeriesCache()
    for names in pages:
        text = "".join(f'{name}{{of="{name}"}} {place}\n' for place, name in enumerate(names))
        assert parse(text, TARGET, known) == parse(text, TARGET)
        assert known.metrics == names


names = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: not name.startswith("__") and name not in ("le", "quantile")
)
texts = st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=12)
labelled = st.dictionaries(names, texts, min_size=1, max_size=3)
numbers = st.floats(allow_nan=False)


@given(st.lists(st.tuples(labelled, numbers, st.lists(st.floats(0, 20), max_size=3)), min_size=1, max_size=4))
def test_pages_of_prometheus_client_parse_as_its_own_parser_does(
    rows: list[tuple[dict[str, str], float, list[float]]],
) -> None:
    """Gauges, counters, histograms and infos with any label values, in both text formats."""
    registry = CollectorRegistry()
    for number, (labels, value, observed) in enumerate(rows):
        Gauge(f"g{number}", "A gauge.", list(labels), registry=registry).labels(**labels).set(value)
        Counter(f"c{number}", "A\ncounter\\.", list(labels), registry=registry).labels(**labels).inc(abs(value))
        histogram = Histogram(f"h{number}", "A histogram.", list(labels), registry=registry).labels(**labels)
        for seconds in observed:
            histogram.observe(seconds)
        Info(f"i{number}", "An info.", registry=registry).info(labels)
    text = generate_latest(registry).decode()
    theirs = [
        Sample(sample.name, labels_of(sample.labels), sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
    assert sorted(parse(text, {})) == sorted(theirs)
    created = ("_created",)
    openmetrics = generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call]  # the library leaves it untyped
    assert sorted(s for s in parse(openmetrics, {}) if not s.metric.endswith(created)) == sorted(
        s for s in theirs if not s.metric.endswith(created)
    )


@given(st.text(max_size=200) | st.text(alphabet='ab{}="\\\n,# 1.e+', max_size=60))
def test_any_text_is_read_or_refused_with_its_line(text: str) -> None:
    """Nothing that a target sends gets further than a message."""
    refused = ""
    try:
        samples = parse(text, TARGET)
    except ValueError as error:
        samples, refused = (), str(error)
    assert not refused or refused.startswith("line ")
    assert all(isinstance(sample.value, float) for sample in samples)


@pytest.mark.parametrize(
    "line",
    [
        "{" * 50_000,
        'a{b="' + "\\" * 100_000,
        "a{" + 'b="",' * 20_000,
        "a" * 200_000,
        "a" + " " * 200_000,
        'a{b="' * 9999,
    ],
)
def test_a_hostile_line_is_refused_at_once(line: str) -> None:
    """The patterns never try again what they have read: were one to, this would not end."""
    with pytest.raises(ValueError, match=r"^line 1: "):
        parse(line + "\n", TARGET)


def test_the_hub_writes_families_as_prometheus_client_does() -> None:
    """Types, suffixes, escaped labels and the end of the page are those of the library, in both formats."""
    registry = CollectorRegistry(auto_describe=False)
    Gauge("room", "Free bytes.", ["path"], registry=registry).labels('C:\\DIR "x"\n').set(1.5)
    Gauge("none", "No series.", ["path"], registry=registry)
    Info("build", "Version.", registry=registry).info({"version": "1", "python": "3.11"})
    families = [*registry.collect()]
    counter = CounterMetricFamily("requests", "Requests.", labels=["b", "a"])
    counter.add_metric(["2", "1"], 3)
    registry.register(_Families([counter]))
    families.append(counter)
    assert render_families(families) == generate_latest(registry).decode()
    openmetrics = generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call]  # the library leaves it untyped
    assert render_families(families, openmetrics=True) == openmetrics


class _Families(Collector):
    def __init__(self, families: list[CounterMetricFamily]) -> None:
        self._families = families

    def collect(self) -> list[CounterMetricFamily]:
        return self._families
