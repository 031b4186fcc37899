"""`foreshock explain` names the root cause in recordings of platforms it has no catalog for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.recording.platform import START, Value, counter, openmetrics, raised, wave

from foreshock_dashboard.cli.main import main
from foreshock_dashboard.model.incident import Candidate
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.replay.explain import normalized

if TYPE_CHECKING:
    from tests.conftest import Incident
    from tests.recording.conftest import Foreshock

SERVICES = ("front", "cart", "checkout", "payment", "catalog", "redis")
LEVELS = {"cpu": 0.3, "mem": 2e8, "latency": 0.08}
Metrics = dict[str, dict[str, Value]]
Explanation = dict[str, Any]
Explain = Callable[..., Explanation]


def platform(label: str = "app", name: Callable[[str], str] = str) -> Metrics:
    """CPU, memory and latency of each service, identified by one label."""
    return {
        metric: {f'{label}="{name(service)}"': wave(level, seed=10 * i + j) for j, service in enumerate(SERVICES)}
        for i, (metric, level) in enumerate(LEVELS.items())
    }


def with_failing_payment(
    metrics: Metrics, key: Callable[[str], str], at: float, until: float = float("inf")
) -> Metrics:
    """Payment uses more CPU from `at` on; payment and its callers become slow."""
    changed = {metric: dict(rows) for metric, rows in metrics.items()}
    for metric, service, times in (
        ("cpu", "payment", 3.0), ("latency", "payment", 6.0), ("latency", "checkout", 4.0), ("latency", "front", 3.0)
    ):  # fmt: skip
        changed[metric][key(service)] = raised(changed[metric][key(service)], at, times, until)
    return changed


@pytest.fixture
def explain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Explain:
    """Import metrics and explain a service, `at` seconds after the start."""

    def run(
        metrics: Mapping[str, Mapping[str, Value]], service: str, at: float, length: float, step: float
    ) -> Explanation:
        file = openmetrics(tmp_path / "metrics.om", metrics, length, step)
        assert (
            main(["recording", "import", "--openmetrics", str(file), "--output-dir", str(tmp_path / "recording")]) == 0
        )
        capsys.readouterr()
        command = ["explain", service, "--from", str(tmp_path / "recording"), "--at", str(START + at), "-o", "json"]
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
        ("pod", lambda service: f"{service}-6c5bd6d5f4-x2x9k"),
        ("job", str),
        ("instance", lambda service: f"{service}:9100"),
    ],
)
def test_services_are_identified_by_any_common_label(explain: Explain, label: str, name: Callable[[str], str]) -> None:
    """The root cause ranks before the services that are only slow."""
    metrics = with_failing_payment(platform(label, name), lambda service: f'{label}="{name(service)}"', at=1500.0)
    explanation = explain(metrics, "front", 1560.0, 2400.0, 15.0)
    assert explanation["service"] == "front"
    assert explanation["at"] == START + 1560.0
    assert explanation["candidates"][0]["service"] == "payment"
    assert "cpu" in explanation["candidates"][0]["why"]
    assert explanation["missing"][-1] == "changes"
    assert {one["service"] for one in explanation["candidates"]} == {"payment", "checkout", "front"}
    assert sum(one["score"] for one in explanation["candidates"]) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize(
    ("length", "step", "at"), [(2400.0, 15.0, 1500.0), (2 * 86_400.0, 300.0, 100_000.0), (1800.0, 60.0, 1200.0)]
)
def test_any_length_and_resolution_suffices(explain: Explain, length: float, step: float, at: float) -> None:
    """The baseline is the time before, whatever the sample interval."""
    explanation = explain(
        with_failing_payment(platform(), lambda service: f'app="{service}"', at),
        "checkout",
        at + 2 * step,
        length,
        step,
    )
    assert explanation["candidates"][0]["service"] == "payment"


def test_counters_are_compared_by_rate_across_resets(explain: Explain) -> None:
    """A reset is not a drop, and a steady increase is not anomalous."""
    step = 15.0
    rates = {service: wave(3.0, seed=j) for j, service in enumerate(SERVICES)}
    rates["redis"] = raised(rates["redis"], 1500.0, 4.0)
    seconds = {f'service="{service}"': counter(rate, step, 1200.0) for service, rate in rates.items()}
    late = {'service="front"': raised(wave(0.1, 99), 1500.0, 5.0)}
    explanation = explain({"busy_seconds_total": seconds, "latency": late}, "front", 1600.0, 2100.0, step)
    assert explanation["candidates"][0]["service"] == "redis"


@pytest.mark.parametrize(("with_calls", "expected"), [(False, "catalog"), (True, "cart")])
def test_known_calls_restrict_the_candidates(explain: Explain, with_calls: bool, expected: str) -> None:
    """The most anomalous service ranks first, unless calls lead from the affected service to another one only."""
    metrics = platform("service")
    for metric, service, times in (("latency", "front", 4), ("latency", "cart", 4), ("cpu", "catalog", 9)):
        key = f'service="{service}"'
        metrics[metric][key] = raised(metrics[metric][key], 1500.0, times)
    calls = {f'client="front",server="{service}"': counter(wave(5.0, 7), 15.0) for service in ("cart", "checkout")}
    more = {"traces_service_graph_request_total": calls} if with_calls else {}
    assert explain({**metrics, **more}, "front", 1560.0, 2100.0, 15.0)["candidates"][0]["service"] == expected


@pytest.mark.soak
def test_the_sender_of_the_load_is_the_cause_also_minutes_after_the_collapse(
    incident: Incident, capsys: pytest.CaptureFixture[str]
) -> None:
    """The overloaded service then answers fewer requests than normally, and new replicas of it begin to report."""
    path = incident("outage")
    breached = json.loads((path / "truth.json").read_bytes())["breached"]["gateway"]
    for later in (0, 300, 540):
        command = ["explain", "gateway", "--from", str(path), "--at", str(breached + later), "-o", "json"]
        assert main(command) == 0
        first = json.loads(capsys.readouterr().out)["candidates"][0]
        assert first["service"] == "product/assistant-feature", later


@pytest.mark.parametrize("service", SERVICES)
def test_healthy_services_have_no_candidates(explain: Explain, service: str) -> None:
    """Noise is not a cause."""
    assert explain(platform(), service, 1500.0, 2400.0, 15.0)["candidates"] == []


def test_constant_series_dead_series_and_single_samples_are_no_evidence(explain: Explain) -> None:
    """A constant may move by a percent, one sample may be off, and a series without history has no baseline."""
    metrics: Metrics = {
        "limit": {'app="front"': lambda _, time: 4.0 if time < 1500 else 4.04},
        "errors": {'app="front"': lambda _, time: 3.0 if time == 1515.0 else 0.0},
        "nothing": {'app="front"': lambda *_: float("nan")},
    }
    assert explain({**platform(), **metrics}, "front", 1515.0, 2100.0, 15.0)["candidates"] == []


def span_metrics(lost: Callable[[float], float], gap: Callable[[float], bool] = lambda _: False) -> Metrics:
    """Span metrics of two services and the call between them, with failures at the rate `lost` and a gap."""

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


def test_a_long_outage_does_not_become_the_baseline(explain: Explain) -> None:
    """Half an hour into the outage, its first minutes are history, but not baseline."""
    explanation = explain(span_metrics(lambda t: 0.6 if t >= 3000 else 0.0), "front", 4500.0, 5000.0, 10.0)
    assert explanation["candidates"][0]["service"] == "payment"


def test_a_time_inside_a_gap_is_explained_by_the_data_after_it(explain: Explain) -> None:
    """Missing data does not mean healthy."""
    explanation = explain(
        span_metrics(lambda t: 0.6 if t >= 3000 else 0.0, lambda t: 2700 <= t < 3300), "front", 3100.0, 5000.0, 10.0
    )
    assert explanation["candidates"][0]["service"] == "payment"


def test_more_requests_alone_are_not_anomalous(explain: Explain) -> None:
    """A service with more requests and equal latency is healthy."""
    metrics = platform()
    rate = raised(wave(9.0, 5), 1500.0, 3.0)
    metrics["requests_total"] = {'app="front"': counter(rate, 15.0)}
    answer = explain(metrics, "front", 1560.0, 2400.0, 15.0)
    assert (answer["version"], answer["candidates"]) == (1, [])


@pytest.mark.parametrize(
    ("service", "at", "message"),
    [
        ("frnt", 1500.0, "no service 'frnt'. Did you mean front"),
        ("nothing-like-it", 1500.0, "no service 'nothing-like-it'. Services: "),
        ("front", 9000.0, "no data at 2026-01-05 10:30:00 UTC. Choose a time from"),
        ("front", 20.0, "are too few for a baseline. Choose a time at least"),
        ("front", "noon", "is not a valid time; use"),
    ],
)
def test_invalid_arguments_are_refused_with_the_valid_ones(
    tmp_path: Path, foreshock: Foreshock, service: str, at: float | str, message: str
) -> None:
    """In one line."""
    file = openmetrics(tmp_path / "metrics.om", platform(), 1800.0, 15.0)
    assert foreshock("recording", "import", "--openmetrics", file, "--output-dir", tmp_path / "recording") == 0
    when = at if isinstance(at, str) else START + at
    code = foreshock("explain", service, "--from", tmp_path / "recording", "--at", when)
    assert code == (2 if isinstance(at, str) else 1)
    assert message in foreshock.said


def test_matchers_are_refused_with_a_recording(tmp_path: Path, foreshock: Foreshock) -> None:
    """It has the series that were chosen when it was created."""
    file = openmetrics(tmp_path / "metrics.om", platform(), 1800.0, 15.0)
    assert foreshock("recording", "import", "--openmetrics", file, "--output-dir", tmp_path / "recording") == 0
    assert foreshock("explain", "--from", tmp_path / "recording", "--match", 'app="front"') == 2
    assert "--match: not supported with a recording. Pass it to `recording create` instead." in foreshock.said


def test_a_cluster_limits_causes_and_names_without_one(tmp_path: Path, foreshock: Foreshock) -> None:
    """Where a service is given, its cause may be in another cluster. A larger outage in another one hides none."""

    def key(cluster: str) -> Callable[[str], str]:
        return lambda service: f'cluster="{cluster}",service_name="{service}"'

    one = platform("service_name")
    both = {
        metric: {key(cluster)(name): rows[f'service_name="{name}"'] for cluster in ("eu", "us") for name in SERVICES}
        for metric, rows in one.items()
    }
    for metric, rows in one.items():
        both[metric] |= {'service_name="front"': rows['service_name="front"']}
    up = {f'cluster="{cluster}",job="all"': wave(1.0, seed=0) for cluster in ("eu", "us", "ap")}
    metrics = {**with_failing_payment(both, key("us"), 1500.0), "up": up}
    for cluster, times in (("eu", 1.5), ("us", 30.0)):
        payment = key(cluster)("payment")
        metrics["latency"][payment] = raised(both["latency"][payment], 1500.0, times)
    file = openmetrics(tmp_path / "metrics.om", metrics, 1800.0, 15.0)
    assert foreshock("recording", "import", "--openmetrics", file, "--output-dir", tmp_path / "recording") == 0
    common = ("--from", tmp_path / "recording", "--at", START + 1620.0, "-o", "json")
    for given, service, first in (
        (("--cluster", "us"), None, "us//payment"),
        (("--cluster", "eu"), None, "eu//payment"),
        (("--cluster", "ap"), None, None),
        (("front", "--cluster", "us"), "us//front", "us//payment"),
        (("front",), "front", "us//payment"),
    ):
        assert foreshock("explain", *given, *common) == 0
        answer = json.loads(foreshock.printed)
        assert answer["service"] == service
        assert next((row["service"] for row in answer["candidates"]), None) == first, given
        assert service or {row["service"][:4] for row in answer["candidates"]} <= {f"{given[-1]}//"}
    assert foreshock("explain", "--cluster", "xx", *common) == 1
    assert "unknown cluster 'xx'. It has ap, eu, us." in foreshock.said


def test_the_candidates_of_a_cluster_share_all_suspicion_among_them() -> None:
    """Those of other clusters are left out, and their shares with them."""
    payment, cart = Service("eu//shop", "payment"), Service("eu//shop", "cart")
    assert [item.score for item in normalized([Candidate(payment, 0.6), Candidate(cart, 0.2)])] == [
        pytest.approx(0.75),
        pytest.approx(0.25),
    ]
    assert normalized([Candidate(cart, 0.0)]) == (Candidate(cart, 0.0),)
    assert normalized([]) == ()


def test_a_new_image_of_a_suspect_is_named_as_evidence(explain: Explain) -> None:
    """Of any platform with kube-state-metrics; another deployment has no change to show."""
    at = 1500.0
    metrics = with_failing_payment(platform(), lambda service: f'app="{service}"', at)
    image = 'namespace="shop",pod="{0}-6c5bd6d5f4-x2x9k",container="{0}",image="registry/{0}:{1}"'.format
    missing = float("nan")
    metrics["kube_pod_container_info"] = {
        image("payment", "v1"): lambda _, time: 1.0 if time < at - 60 else missing,
        image("payment", "v2"): lambda _, time: 1.0 if time >= at - 60 else missing,
        image("cart", "v7"): lambda _, __: 1.0,
    }
    explanation = explain(metrics, "front", at + 60, 2400.0, 15.0)
    payment, *others = explanation["candidates"]
    assert payment["service"] == "payment"
    assert "changed to v2 at" in payment["why"]
    assert not any("changed" in one["why"] for one in others)
    assert [row["text"] for row in explanation["changes"]] == ["shop/payment v1 → v2"]
    assert "changes" not in explanation["missing"]
