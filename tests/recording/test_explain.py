"""`foreshock explain` finds whose doing it is in recordings of platforms that nobody has told it of."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.recording.platform import START, Value, counter, openmetrics, raised, wave

from foreshock_dashboard.cli.main import main

if TYPE_CHECKING:
    from tests.recording.conftest import Foreshock

SERVICES = ("front", "cart", "checkout", "payment", "catalogue", "redis")
LEVELS = {"cpu": 0.3, "mem": 2e8, "latency": 0.08}
Metrics = dict[str, dict[str, Value]]
Told = dict[str, Any]
Explain = Callable[..., Told]


def platform(label: str = "app", name: Callable[[str], str] = str) -> Metrics:
    """Processor, memory and latency of each service, by one label."""
    return {
        metric: {f'{label}="{name(who)}"': wave(level, seed=10 * i + j) for j, who in enumerate(SERVICES)}
        for i, (metric, level) in enumerate(LEVELS.items())
    }


def broken(metrics: Metrics, key: Callable[[str], str], at: float, until: float = float("inf")) -> Metrics:
    """Payment takes five times the processor from `at` on; it and those that call it answer late."""
    changed = {metric: dict(rows) for metric, rows in metrics.items()}
    for metric, who, times in (
        ("cpu", "payment", 3.0), ("latency", "payment", 6.0), ("latency", "checkout", 4.0), ("latency", "front", 3.0)
    ):  # fmt: skip
        changed[metric][key(who)] = raised(changed[metric][key(who)], at, times, until)
    return changed


@pytest.fixture
def explain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Explain:
    """Import metrics, and ask about a service at so many seconds after the start."""

    def run(metrics: Mapping[str, Mapping[str, Value]], service: str, at: float, length: float, step: float) -> Told:
        file = openmetrics(tmp_path / "metrics.om", metrics, length, step)
        assert main(["import", "--openmetrics", str(file), "--out", str(tmp_path / "recording")]) == 0
        capsys.readouterr()
        command = ["explain", str(tmp_path / "recording"), "--service", service, "--at", str(START + at), "--json"]
        assert main(command) == 0
        return dict(json.loads(capsys.readouterr().out))

    return run


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("service_name", str),
        ("service", str),
        ("app", str),
        ("deployment", str),
        ("container", str),
        ("pod", lambda who: f"{who}-6c5bd6d5f4-x2x9k"),
        ("job", str),
        ("instance", lambda who: f"{who}:9100"),
    ],
)
def test_the_service_is_found_by_whatever_label_there_is(
    explain: Explain, label: str, name: Callable[[str], str]
) -> None:
    """And who takes the processor is named first, before those that only answer late."""
    metrics = broken(platform(label, name), lambda who: f'{label}="{name(who)}"', at=1500.0)
    told = explain(metrics, "front", 1560.0, 2400.0, 15.0)
    assert told["service"] == "front"
    assert told["at"] == START + 1560.0
    assert told["candidates"][0]["service"] == "payment"
    assert "cpu" in told["candidates"][0]["why"]
    assert {one["service"] for one in told["candidates"]} == {"payment", "checkout", "front"}
    assert sum(one["score"] for one in told["candidates"]) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("length", "step", "at"), [(2400.0, 15.0, 1500.0), (2 * 86_400.0, 300.0, 100_000.0), (1800.0, 60.0, 1200.0)]
)
def test_forty_minutes_and_days_at_any_resolution_will_do(
    explain: Explain, length: float, step: float, at: float
) -> None:
    """What is usual is what came before, however far apart samples are."""
    told = explain(broken(platform(), lambda who: f'app="{who}"', at), "checkout", at + 2 * step, length, step)
    assert told["candidates"][0]["service"] == "payment"


def test_counters_are_told_by_their_rate_also_over_a_reset(explain: Explain) -> None:
    """A counter that begins anew is no fall, and one that always grows is nothing new."""
    step = 15.0
    rates = {who: wave(3.0, seed=j) for j, who in enumerate(SERVICES)}
    rates["redis"] = raised(rates["redis"], 1500.0, 4.0)
    seconds = {f'service="{who}"': counter(rate, step, 1200.0) for who, rate in rates.items()}
    late = {'service="front"': raised(wave(0.1, 99), 1500.0, 5.0)}
    told = explain({"busy_seconds_total": seconds, "latency": late}, "front", 1600.0, 2100.0, step)
    assert told["candidates"][0]["service"] == "redis"


@pytest.mark.parametrize(("known", "blamed"), [(False, "catalogue"), (True, "cart")])
def test_where_calls_are_known_blame_follows_them(explain: Explain, known: bool, blamed: str) -> None:
    """The oddest is blamed, unless it is known that the one that suffers calls another odd one, and not that."""
    metrics = platform("service")
    for metric, who, times in (("latency", "front", 4), ("latency", "cart", 4), ("cpu", "catalogue", 9)):
        key = f'service="{who}"'
        metrics[metric][key] = raised(metrics[metric][key], 1500.0, times)
    calls = {f'client="front",server="{who}"': counter(wave(5.0, 7), 15.0) for who in ("cart", "checkout")}
    more = {"traces_service_graph_request_total": calls} if known else {}
    assert explain({**metrics, **more}, "front", 1560.0, 2100.0, 15.0)["candidates"][0]["service"] == blamed


@pytest.mark.parametrize("service", SERVICES)
def test_nothing_is_said_where_nothing_is_wrong(explain: Explain, service: str) -> None:
    """Noise is no cause."""
    assert explain(platform(), service, 1500.0, 2400.0, 15.0)["candidates"] == []


def test_constant_and_dead_series_and_single_samples_prove_nothing(explain: Explain) -> None:
    """A level that never moved may move by a percent; one blip is none; what has no past cannot be judged."""
    metrics: Metrics = {
        "limit": {'app="front"': lambda _, time: 4.0 if time < 1500 else 4.04},
        "errors": {'app="front"': lambda _, time: 3.0 if time == 1515.0 else 0.0},
        "nothing": {'app="front"': lambda *_: float("nan")},
    }
    assert explain({**platform(), **metrics}, "front", 1515.0, 2100.0, 15.0)["candidates"] == []


def spans_of(lost: Callable[[float], float], gap: Callable[[float], bool] = lambda _: False) -> Metrics:
    """Span metrics of two services and the call between them, of which a share is lost; with a gap."""

    def count(rate: Callable[[float], float]) -> Value:
        def value(_: str, time: float) -> float:
            return float("nan") if gap(time) else float(sum(10.0 * rate(each) for each in range(0, round(time), 10)))

        return value

    def constant(rate: float) -> Callable[[float], float]:
        return lambda _: rate

    served = 'span_kind="SPAN_KIND_SERVER",span_name="ask"'
    ok, failed = 'status_code="STATUS_CODE_UNSET"', 'status_code="STATUS_CODE_ERROR"'
    edge = 'client="front",server="payment"'
    calls = {
        f'service_name="{name}",{served},{status}': count(rate)
        for name in ("front", "payment")
        for status, rate in ((ok, lambda t: 5 * (1 - lost(t))), (failed, lambda t: 5 * lost(t)))
    }
    buckets = {
        f'service_name="{name}",{served},{ok},le="{le}"': count(constant(5 * of))
        for name in ("front", "payment")
        for le, of in (("0.1", 0.5), ("0.2", 1.0), ("+Inf", 1.0))
    }
    return {
        "traces_span_metrics_calls_total": calls,
        "traces_span_metrics_duration_seconds_bucket": buckets,
        "traces_service_graph_request_total": {edge: count(lambda _: 5.0)},
        "traces_service_graph_request_failed_total": {edge: count(lambda t: 5 * lost(t))},
        "up": {'job="collector"': lambda *_: 1.0},
    }


def test_an_outage_that_has_lasted_is_not_what_is_usual(explain: Explain) -> None:
    """Half an hour into it the failures of its beginning are the past; a hub has learned nothing of them."""
    told = explain(spans_of(lambda t: 0.6 if t >= 3000 else 0.0), "front", 4500.0, 5000.0, 10.0)
    assert told["candidates"][0]["service"] == "payment"


def test_inside_a_gap_it_is_asked_of_what_came_after(explain: Explain) -> None:
    """What is not known is not well."""
    told = explain(
        spans_of(lambda t: 0.6 if t >= 3000 else 0.0, lambda t: 2700 <= t < 3300), "front", 3100.0, 5000.0, 10.0
    )
    assert told["candidates"][0]["service"] == "payment"


def test_being_asked_more_is_no_suffering(explain: Explain) -> None:
    """A service with twice the requests and the same latency is well."""
    metrics = platform()
    rate = raised(wave(9.0, 5), 1500.0, 3.0)
    metrics["requests_total"] = {'app="front"': counter(rate, 15.0)}
    assert explain(metrics, "front", 1560.0, 2400.0, 15.0)["candidates"] == []


@pytest.mark.parametrize(
    ("service", "at", "said"),
    [
        ("frnt", 1500.0, "no service 'frnt'; there is front"),
        ("front", 9000.0, "is not in there"),
        ("front", 20.0, "name a time at least"),
        ("front", "noon", "is neither Unix seconds nor a time"),
    ],
)
def test_a_wrong_question_is_answered_with_what_could_be_asked(
    tmp_path: Path, foreshock: Foreshock, service: str, at: float | str, said: str
) -> None:
    """One line that names it."""
    file = openmetrics(tmp_path / "metrics.om", platform(), 1800.0, 15.0)
    assert foreshock("import", "--openmetrics", file, "--out", tmp_path / "recording") == 0
    when = at if isinstance(at, str) else START + at
    code = foreshock("explain", tmp_path / "recording", "--service", service, "--at", when)
    assert code == (2 if isinstance(at, str) else 1)
    assert said in foreshock.said
