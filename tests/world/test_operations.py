"""Operations by span name, from either producer of span metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from tests.world.scraped import Page, world_scraped

from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.samples import labels_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Operation
from foreshock_dashboard.world import calls
from foreshock_dashboard.world.builder import WorldBuilder, catalog
from foreshock_dashboard.world.calls import MAX_OPERATIONS, MIN_OPERATION_RATE
from foreshock_dashboard.world.histogram_quantiles import QuantileReducer
from foreshock_dashboard.world.row import Readings

EMBED, DOCUMENTS = "POST /embed", "POST /embed/documents"
STEP = 10.0


def gpus(*services: str) -> Page:
    """Page of an exporter with one GPU and these services on it."""

    def page(t: float) -> str:
        gpu = 'gpu="0",uuid="a"'
        busy = [f'gpu_service_busy_seconds_total{{{gpu},service_name="{name}"}} {0.2 * t}' for name in services]
        return "\n".join([f'gpu_info{{{gpu},model="H100"}} 1', *busy, ""])

    return page


def spans(metric: str, service: str) -> Page:
    """Span metrics of an embedder and a web server; documents from the second minute on, of which one in five fails."""

    def page(t: float) -> str:
        server, client = 'span_kind="SPAN_KIND_SERVER"', 'span_kind="SPAN_KIND_CLIENT"'
        late = max(0.0, t - 60)
        rows = {
            f'{service}="embedder",{server},span_name="{EMBED}",status_code="STATUS_CODE_UNSET"': 4 * t,
            f'{service}="embedder",{server},span_name="{DOCUMENTS}",status_code="STATUS_CODE_UNSET"': 0.4 * late,
            f'{service}="embedder",{server},span_name="{DOCUMENTS}",status_code="STATUS_CODE_ERROR"': 0.1 * late,
            f'{service}="embedder",{client},span_name="GET /weights",status_code="STATUS_CODE_UNSET"': 2 * t,
            f'{service}="web",{server},span_name="GET /",status_code="STATUS_CODE_UNSET"': 9 * t,
        }
        return "".join(f"{metric}{{{labels}}} {value}\n" for labels, value in rows.items())

    return page


@pytest.mark.parametrize(
    ("metric", "service"),
    [("traces_span_metrics_calls_total", "service_name"), ("traces_spanmetrics_calls_total", "service")],
)
def test_operations_are_the_kinds_of_server_spans(tmp_path: Path, metric: str, service: str) -> None:
    """From the Collector's connector and Tempo's generator; without client spans."""
    world = world_scraped(
        tmp_path,
        {("exporter", "h:1"): gpus("embedder"), ("collector", "c:1"): spans(metric, service)},
        seconds=240.0,
    )
    embedder = Service("", "embedder")
    front = Operation(Service("", "web"), "GET /")

    assert world.operations == (Operation(embedder, EMBED), Operation(embedder, DOCUMENTS), front)
    assert world.operation_red.rate[:, -1].tolist() == pytest.approx([4.0, 0.5, 9.0])
    assert world.operation_red.error_rate[:, -1].tolist() == pytest.approx([0.0, 0.2, 0.0], rel=1e-3)


def operations(
    first: float,
    on_gpu: Iterable[str],
    names: Iterable[str] = ("ask",),
    rates: Mapping[str, float] = MappingProxyType({}),
) -> Readings:
    """Three grid points of requests to an embedder and a language model, few unless `rates` by name says otherwise."""
    times = first + STEP * np.arange(3, dtype=np.float64)
    exporter, services = {"job": "exporter", "instance": "h:1"}, ("embedder", "llm")

    def rows(*labels: dict[str, str], value: float = 1.0) -> Matrix:
        found = {labels_of(series): rates.get(series.get("span_name", ""), value) for series in labels}
        return Matrix.of(times, {series: np.full(3, rate) for series, rate in found.items()})

    return QuantileReducer()(
        {key: Matrix.empty(times) for key in catalog(59.0)}
        | {
            "up": rows(exporter),
            "gpu": rows({**exporter, "uuid": "a", "gpu": "0"}),
            "busy": rows(*({**exporter, "uuid": "a", "service_name": name} for name in on_gpu)),
            "operations": rows(
                *({"service_name": service, "span_name": name} for service in services for name in names),
                value=MIN_OPERATION_RATE / 2,
            ),
        }
    )


def test_operations_begin_when_their_service_is_on_a_gpu() -> None:
    """Operations of other services stay as they are."""
    growing = WorldBuilder(STEP)
    embedder, llm = (Operation(Service("", name), "ask") for name in ("embedder", "llm"))

    assert growing.add(operations(1_800_000_000.0, ())).operations == ()
    assert growing.add(operations(1_800_000_030.0, ("llm",))).operations == (llm,)
    world = growing.add(operations(1_800_000_060.0, ("embedder", "llm")))

    assert world.operations == (embedder, llm)
    known = np.isfinite(world.operation_red.rate).tolist()
    assert known == [[False] * 6 + [True] * 3, [False] * 3 + [True] * 6]


def test_only_busy_operations_of_other_services_have_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The busiest ones if there is no room for all, from when they become busy, until they expire."""
    monkeypatch.setattr(calls, "MAX_BUSY_OPERATIONS", 3)
    embedder, llm = Service("", "embedder"), Service("", "llm")
    growing, begin, names = WorldBuilder(STEP, keep=60.0), 1_800_000_000.0, ("a", "b", "c")
    cases = [
        ({"a": MIN_OPERATION_RATE}, ["a", "a"]),
        ({"b": 1.0, "c": 2.0}, ["a", "a", "c"]),
        ({"c": 2.0}, ["a", "a", "c"]),
    ]
    for i, (rates, expected) in enumerate(cases):
        world = growing.add(operations(begin + 30 * i, (), names, rates))
        assert sorted(operation.name for operation in world.operations) == expected
    for i in range(3, 7):
        world = growing.add(operations(begin + 30 * i, (), ("b",), {"b": 1.0}))
    assert world.operations == (Operation(embedder, "b"), Operation(llm, "b"))


def test_operations_per_service_are_limited() -> None:
    """Span names that contain ids do not displace the first ones."""
    growing = WorldBuilder(STEP)
    first = growing.add(operations(1_800_000_000.0, ("llm",), [f"GET /{number}" for number in range(MAX_OPERATIONS)]))
    world = growing.add(operations(1_800_000_030.0, ("llm",), [f"GET /{number}" for number in range(1000)]))

    assert len(first.operations) == MAX_OPERATIONS
    assert world.operations == first.operations
    assert np.isfinite(world.operation_red.rate).all()


def test_expired_operations_make_room_for_others() -> None:
    """A change of the services on GPUs makes none."""
    growing = WorldBuilder(STEP, keep=60.0)
    begin = 1_800_000_000.0
    growing.add(operations(begin, ("llm",), [f"GET /{number}" for number in range(1000)]))
    assert (
        len(growing.add(operations(begin + 30, ("llm", "batch"), [f"POST /{n}" for n in range(99)])).operations)
        == MAX_OPERATIONS
    )
    for later in range(2, 6):
        world = growing.add(operations(begin + 30 * later, ("llm",), ["ask"]))
    assert world.operations == (Operation(Service("", "llm"), "ask"),)
