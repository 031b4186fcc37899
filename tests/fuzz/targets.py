"""Fuzz targets: each feeds bytes from an untrusted place to a parser, and fails on all but its documented errors.

`make fuzz` mutates the corpus with atheris, guided by coverage; test_corpus.py replays it.
"""

from __future__ import annotations

import io
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import get_args
from urllib.parse import parse_qsl

import numpy as np
import orjson
from google.protobuf.message import DecodeError

from foreshock_dashboard.changes import reports
from foreshock_dashboard.changes.argocd import argocd_change
from foreshock_dashboard.changes.cloud_events import deployment_event, structured_event
from foreshock_dashboard.changes.fields import InvalidChangeError
from foreshock_dashboard.changes.github import github_change
from foreshock_dashboard.changes.labels import change_labels, change_of_labels
from foreshock_dashboard.common.gunzip import TooLargeError, gunzip
from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.ingest.otlp.encode import join_spans
from foreshock_dashboard.ingest.otlp.split import TooManyFieldsError, check_field_count, split_request
from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.query import Matcher, MatchOp, Query
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Origin, Span, TraceQuery
from foreshock_dashboard.notify.channels import read_channels
from foreshock_dashboard.recording import meta, openmetrics
from foreshock_dashboard.recording.convert import parse_otlp_lines
from foreshock_dashboard.recording.meta import RecordingError
from foreshock_dashboard.settings import option_types, times
from foreshock_dashboard.settings.settings import SettingsError, load_settings
from foreshock_dashboard.sources.otlp.codec import MalformedError, decode, encode_json
from foreshock_dashboard.sources.otlp.receiver import Receiver, Refusal, RefusedError
from foreshock_dashboard.sources.prometheus import text_format
from foreshock_dashboard.sources.prometheus.promql import promql
from foreshock_dashboard.sources.prometheus.target import ScrapeTarget
from foreshock_dashboard.sources.traces import tempo_json
from foreshock_dashboard.sources.traces.traceql import traceql
from foreshock_dashboard.web.api import parameters as api
from foreshock_dashboard.web.pages.traces.parameters import SpanPage, TraceParameters, trace_id_of
from foreshock_dashboard.web.state.parameters import AsOf, BadParameterError, NoParameters, Parameters, view, view_of
from foreshock_exporter.attribution import cgroup, container, resource_detector, service_resolver
from foreshock_exporter.common.durations import parse_duration
from foreshock_exporter.drm.amd import throttled_shares
from foreshock_exporter.drm.fdinfo import parse_fdinfo
from foreshock_exporter.drm.gpu_metrics import is_of_apu, parse_gpu_metrics
from foreshock_exporter.exposition.text_format import series_text, value_text
from foreshock_exporter.script import lines
from foreshock_exporter.script.files import split_lines
from foreshock_exporter.web import request
from foreshock_exporter.web.settings import parse_settings
from foreshock_exporter.web.yaml_file import ConfigError

MAX_BYTES = 8192
"""Longest input. Limits of larger ones have tests of their own."""
NOW = 1_790_000_000.0
FOLDER = Path(tempfile.mkdtemp(prefix="foreshock-fuzz-"))


def text_of(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


# --- OTLP


def ingest(data: bytes, *, json: bool) -> None:
    """All accepted spans can be written again as JSON."""
    accepted: list[Span] = []
    receiver = Receiver(accept=accepted.extend, now=lambda: NOW)
    try:
        receiver.ingest(data, json=json)
    except RefusedError as refused:
        if refused.refusal in (Refusal.INTERNAL, Refusal.UNAVAILABLE):
            raise refused.__cause__ or refused from None
    assert encode_json(accepted)


def otlp_protobuf(data: bytes) -> None:
    ingest(data, json=False)


def otlp_json(data: bytes) -> None:
    ingest(data, json=True)


def otlp_slices(data: bytes) -> None:
    """A request in slices has the spans of the whole."""
    rejected: Counter[str] = Counter()
    try:
        whole = decode(data, NOW)
        check_field_count(data)
    except (MalformedError, DecodeError, TooManyFieldsError):
        return
    parts = [decode(part, NOW) for part in split_request(data, rejected)]
    assert sum(len(part.spans) for part in parts) <= len(whole.spans)
    assert sum(len(part.spans) + part.rejected for part in parts) + rejected.total() >= len(whole.spans)


def otlp_lines(data: bytes) -> None:
    with suppress(RecordingError):
        for decoded in parse_otlp_lines(io.BytesIO(data), "f"):
            assert encode_json(decoded.spans)


def gzip(data: bytes) -> None:
    with suppress(TooLargeError, ValueError):
        assert len(gunzip(data, 100_000)) <= 100_000


# --- metrics


def exposition(data: bytes) -> None:
    """Samples are the same after they are written and read again."""
    with suppress(ValueError):
        samples = text_format.parse(text_of(data), {})
        again = "\n".join(f"{series_text(item.metric, item.labels)} {value_text(item.value)}" for item in samples)
        assert repr(text_format.parse(again, {})) == repr(samples)
        text_format.parse(text_of(data), {"job": "j", "instance": "i"}, text_format.SeriesCache(), 3)


def open_metrics(data: bytes) -> None:
    numbers: dict[tuple[str, Labels], int] = {}
    with suppress(RecordingError):
        for batch in openmetrics.parse(
            io.BytesIO(data), "f", lambda metric, labels: numbers.setdefault((metric, labels), len(numbers))
        ):
            assert np.abs(batch.times).max() <= 1000 * openmetrics.MAX_TIME_SECONDS
            assert batch.series.max() < len(numbers)


# --- queries of others


def without_literals(query: str) -> str:
    return re.sub(r'"(?:[^"\\]|\\.)*"', '""', query)


def traceql_literals(data: bytes) -> None:
    """No value changes the structure of a query."""
    values = [text_of(part) for part in data.split(b"\0")[:4]]
    key, value, service, operation = [*values, "a", "a", "a", "a"][:4]
    harmless = TraceQuery(
        start=0.0, end=1.0, service=Service("a", "a"), operation="a", attributes={"a": "a"}, order="newest"
    )
    with suppress(ValueError):
        written = traceql(replace(harmless, service=Service(service, service), attributes={key: f"x{value}"}))
        assert written.isprintable()
        expected = traceql(replace(harmless, service=Service("a" if service else "", "a"), attributes={key: "a"}))
        assert without_literals(written) == without_literals(expected)
        assert without_literals(traceql(replace(harmless, operation=operation))) == without_literals(traceql(harmless))


def promql_literals(data: bytes) -> None:
    value = text_of(data)
    warnings.simplefilter("ignore", FutureWarning)  # a set in a set is a set of later Pythons
    for operator in get_args(MatchOp):
        with suppress(ValueError):
            written, harmless = (promql(Query("up", (Matcher("job", operator, text),))) for text in (value, "a"))
            assert without_literals(written) == without_literals(harmless)


def tempo(data: bytes) -> None:
    for read in (
        tempo_json.read_search,
        tempo_json.read_values,
        lambda body: tempo_json.read_trace(body, "application/json", wrapped=True),
        lambda body: tempo_json.read_trace(body, tempo_json.PROTOBUF, wrapped=True),
        lambda body: tempo_json.read_trace(body, tempo_json.PROTOBUF, wrapped=False),
    ):
        with suppress(ValueError):
            read(data)


# --- configuration


def hub_config(data: bytes) -> None:
    (FOLDER / "hub.yml").write_bytes(data)
    with suppress(SettingsError):
        load_settings({"config": str(FOLDER / "hub.yml")}, {})


def option_values(data: bytes) -> None:
    text = text_of(data)
    for parse in (
        option_types.parse_size, option_types.parse_count, option_types.parse_port, option_types.parse_url,
        option_types.parse_hosts, option_types.parse_header, option_types.parse_networks,
        option_types.parse_attributes, option_types.parse_slos, option_types.parse_tiers, option_types.parse_past,
        option_types.parse_bool, parse_duration, lambda word: times.parse_time(word, NOW),
    ):  # fmt: skip
        with suppress(ValueError):
            parse(text)
    with suppress(ValueError):
        for target in option_types.parse_targets(text):
            assert ScrapeTarget(target.url, "j").instance


def notify_file(data: bytes) -> None:
    """No text of a channel shows its URL, which is a secret."""
    (FOLDER / "notify").write_bytes(data)
    with suppress(FileError):
        for channel in read_channels(FOLDER / "notify"):
            assert channel.url not in repr(channel)


def web_config(data: bytes) -> None:
    with suppress(ConfigError):
        parse_settings(text_of(data), Path("web.yml"))


def device_script(data: bytes) -> None:
    with suppress(lines.ScriptError):
        lines.parse(split_lines([data]), "f")


# --- recordings


def recording_meta(data: bytes) -> None:
    (FOLDER / meta.METRICS).touch()
    (FOLDER / meta.META).write_bytes(data)
    with suppress(RecordingError):
        read = meta.read(FOLDER)
        (FOLDER / meta.META).write_bytes(meta.dump(read))
        assert meta.read(FOLDER) == read


def recording_spans(data: bytes) -> None:
    """Spans are stored as the bytes of their resource, scope, and own message."""
    resource, scope, span = [*data.split(b"\0|\0", 2), b"", b""][:3]
    with suppress(MalformedError):
        decode(join_spans([(Origin(resource, scope), span), (Origin(resource, scope), span)]))


# --- the host


def proc_cgroup(data: bytes) -> None:
    text = text_of(data)
    place = cgroup.placement(cgroup.parse_cgroup(text))
    assert place.unit != ""
    resource_detector.container_ids(text, resource_detector.parse_mountinfo(text))


def drm_fdinfo(data: bytes) -> None:
    """A client, or none; its engines had no time since itself."""
    if (client := parse_fdinfo(text_of(data))) is not None:
        assert client.share_since(client, 1.0) == 0.0
        assert client.memory_bytes is None or client.memory_bytes >= 0.0


def gpu_metrics(data: bytes) -> None:
    is_of_apu(data)
    metrics = parse_gpu_metrics(data)
    assert metrics.energy_joules is None or metrics.energy_joules >= 0.0
    assert all(0.0 <= share <= 1.0 for share in throttled_shares(metrics, metrics).values())


def proc_environ(data: bytes) -> None:
    environ = service_resolver.parse_environ(data)
    for service in (
        service_resolver.from_environ(environ),
        service_resolver.from_placement(cgroup.placement(environ.values()), environ),
    ):
        if service is not None:
            assert service.name.isprintable()
            assert service.namespace.isprintable()
    resource_detector.visible_gpus(environ)
    service_resolver.program("/usr/bin/python3.11", data)
    service_resolver.start_time(data)
    service_resolver.parent_of(data)
    container.parse_nspid(data)


# --- reported changes

CHANGE_FORMATS: tuple[Callable[[object], Change | None], ...] = (
    lambda body: reports.reported_change(body, NOW),
    lambda body: reports.annotation(body, NOW, [Service("serving", "llm")]),
    lambda body: deployment_event(structured_event(body), NOW),
    lambda body: github_change("release", body, NOW),
    lambda body: github_change("deployment", body, NOW),
    lambda body: github_change("deployment_status", body, NOW),
    lambda body: argocd_change(body, NOW),
)


def changes(data: bytes) -> None:
    """A change of any format is the same after it was kept in the journal."""
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        return
    for parse in CHANGE_FORMATS:
        with suppress(InvalidChangeError):
            change = parse(body)
            assert change is None or change_of_labels(change.at, change_labels(change)) == change


# --- HTTP

PARAMETERS: tuple[type[Parameters], ...] = (
    NoParameters, AsOf, SpanPage, TraceParameters, api.HeadroomParameters, api.IncidentsParameters,
    api.ExplainParameters, api.ReportParameters, api.ContentionParameters, api.ExemplarParameters,
    api.CascadeParameters, api.InventoryParameters, api.FleetParameters, api.CsvTraceParameters,
)  # fmt: skip


def query_parameters(data: bytes) -> None:
    search = data.decode("latin-1")
    given = dict(parse_qsl(search, keep_blank_values=True))
    for kind in PARAMETERS:
        with suppress(BadParameterError):
            names = {field.alias or name for name, field in kind.model_fields.items()}
            read = kind.read({name: value for name, value in given.items() if name in names})
            if isinstance(read, TraceParameters):
                read.query(NOW, ())
        with suppress(BadParameterError):
            kind.read(given)
    with suppress(BadParameterError):
        view(given, NOW)
    shown = view_of(search, NOW)
    assert shown.start < shown.end
    with suppress(BadParameterError):
        trace_id_of(search)


def http_request(data: bytes) -> None:
    with suppress(request.RefusedError):
        parsed = request.parse(data)
        assert parsed.method
        for value in parsed.headers.values():
            request.accepts_gzip(value)
            request.wants_openmetrics(value)


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    function.__name__: function
    for function in (
        otlp_protobuf, otlp_json, otlp_slices, otlp_lines, gzip, exposition, open_metrics, traceql_literals,
        promql_literals, tempo, hub_config, option_values, notify_file, web_config, device_script, recording_meta,
        recording_spans, proc_cgroup, drm_fdinfo, gpu_metrics, proc_environ, changes, query_parameters, http_request,
    )
}  # fmt: skip
