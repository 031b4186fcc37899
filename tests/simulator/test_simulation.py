"""The platform behaves as platforms do, the same for the same seed, and contention comes out of the model."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from foreshock_simulator.scenario import SCENARIOS
from foreshock_simulator.simulation import Simulation
from foreshock_simulator.span import SimSpan

START = 1_800_000_000.0
ONSET = 600.0
Runs = Callable[[str, int, float], Any]


def digest(spans: Iterable[SimSpan]) -> str:
    return hashlib.sha256("\n".join(map(repr, spans)).encode()).hexdigest()


def p95(values: list[float]) -> float:
    return sorted(values)[int(0.95 * (len(values) - 1))]


def test_the_same_seed_gives_the_same_spans_however_time_is_cut() -> None:
    """In one go, or second by second with the devices read between: the same ids, times and attributes."""
    whole = Simulation("starve", 4, START, START + 20).advance(START + 60)
    cut = Simulation("starve", 4, START, START + 20)
    pieces: list[SimSpan] = []
    for second in range(1, 61):
        pieces += cut.advance(START + second)
        for host in cut.hosts:
            host.driver.read(second % 8)
            host.driver.process_utilization(second % 8, 0)
    assert digest(whole) == digest(pieces)


def test_another_seed_gives_other_spans() -> None:
    """Seeds are not decoration."""
    assert digest(Simulation("calm", 1, START, START).advance(START + 30)) != digest(
        Simulation("calm", 2, START, START).advance(START + 30)
    )


def test_before_the_onset_all_scenarios_are_one() -> None:
    """Only the injected change tells them apart, and it does from the onset on."""
    starve, calm = (Simulation(name, 3, START, START + 30) for name in ("starve", "calm"))
    assert digest(starve.advance(START + 30)) == digest(calm.advance(START + 30))
    assert digest(starve.advance(START + 60)) != digest(calm.advance(START + 60))


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_greedy_tenant_slows_its_victim_and_the_victims_callers(run: Runs, seed: int) -> None:
    """From a minute and a half after the onset on, llm-chat and the feature that calls it take far longer."""
    squeezed = run("starve", seed, ONSET + 150)
    for service in ("llm-chat", "assistant-feature"):
        before = p95(squeezed.durations(service, 120, ONSET))
        after = p95(squeezed.durations(service, ONSET + 90, ONSET + 150))
        assert after >= 1.5 * before, f"{service}: {before:.2f} s, then {after:.2f} s"


@pytest.mark.parametrize("seed", range(1, 6))
def test_the_squeeze_shows_within_forty_seconds(run: Runs, seed: int) -> None:
    """The ramp is steep enough to see."""
    squeezed = run("starve", seed, ONSET + 150)
    before = p95(squeezed.durations("llm-chat", 120, ONSET))
    assert p95(squeezed.durations("llm-chat", ONSET + 10, ONSET + 40)) >= 1.5 * before


@pytest.mark.parametrize("seed", range(1, 6))
def test_nobody_suffers_on_a_calm_day(run: Runs, seed: int) -> None:
    """Services share GPUs without harm, and nothing fails."""
    calm = run("calm", seed, ONSET + 150)
    for service in ("llm-chat", "assistant-feature"):
        before = p95(calm.durations(service, 120, ONSET))
        assert p95(calm.durations(service, ONSET + 90, ONSET + 150)) < 1.5 * before
    assert calm.simulation.counts.failed == 0


@pytest.mark.parametrize("scenario", list(SCENARIOS))
def test_each_request_ends_once_or_is_still_open(run: Runs, scenario: str) -> None:
    """Requests that came equal those answered, failed and open; each of the first two has one root span."""
    finished = run(scenario, 1, ONSET + 150)
    counts = finished.simulation.counts
    roots = [span for span in finished.spans if span.kind == "server" and not span.parent_id]
    assert counts.entered == counts.answered + counts.failed + counts.open
    assert len(roots) == counts.answered + counts.failed
    assert len({span.span_id for span in finished.spans}) == len(finished.spans)


def test_the_load_is_that_of_a_small_platform(run: Runs) -> None:
    """Several requests and some dozens of spans a second, and every service has work."""
    calm = run("calm", 1, ONSET + 150)
    seconds = ONSET + 150
    assert 4 <= calm.simulation.counts.entered / seconds <= 15
    assert 50 <= len(calm.spans) / seconds <= 150
    names = {str(span.resource["service.name"]) for span in calm.spans}
    assert {"gateway", "llm-chat", "train-llm", "batch-embed", "vector-store", "auth"} <= names
    assert len(names) == 14


@pytest.mark.parametrize("scenario", list(SCENARIOS))
def test_every_server_span_answers_a_client_span(run: Runs, scenario: str) -> None:
    """A SERVER span's parent is a CLIENT span of the same trace that names the server, and starts before it."""
    finished = run(scenario, 2, ONSET + 150)
    clients = {span.span_id: span for span in finished.spans if span.kind == "client"}
    horizon = (START + ONSET + 60) * 1e9  # later ones may be answers to callers that still wait
    checked = 0
    for span in finished.spans:
        if span.kind != "server" or not span.parent_id or span.end_ns > horizon:
            continue
        client = clients[span.parent_id]
        assert client.trace_id == span.trace_id
        assert client.attributes["server.address"] == span.resource["service.name"]
        assert client.start_ns <= span.start_ns <= span.end_ns
        checked += 1
    assert checked > 10_000


def test_a_caller_that_gives_up_says_so_and_tries_again(run: Runs) -> None:
    """Under pressure some calls time out; attempts after the first carry their count, within the bound."""
    squeezed = [
        span for seed in range(1, 6) for span in run("starve", seed, ONSET + 150).spans if span.kind == "client"
    ]
    timeouts = [span for span in squeezed if span.attributes.get("error.type") == "timeout"]
    assert timeouts
    for span in timeouts:
        assert span.status == "error"
        assert "http.response.status_code" not in span.attributes
    resends = Counter(span.attributes.get("http.request.resend_count") for span in squeezed)
    assert resends[1] > 0
    assert set(resends) <= {None, 1, 2}


def test_tokens_and_times_of_language_models_are_told(run: Runs) -> None:
    """A model's span carries the trace's tokens, and its time to the first token lies within it."""
    chats = [
        span
        for span in run("calm", 1, ONSET + 150).spans
        if span.kind == "server" and span.resource["service.name"] == "llm-chat"
    ]
    for span in chats:
        seconds = (span.end_ns - span.start_ns) / 1e9
        first = span.attributes["gen_ai.latency.time_to_first_token"]
        assert isinstance(first, float)
        assert 0.0 < first <= seconds
        assert int(span.attributes["gen_ai.usage.input_tokens"]) > 0


@pytest.mark.parametrize(
    ("scenario", "onset", "message"),
    [("quake", START, "there is no scenario 'quake'; there are starve, calm"), ("calm", START - 1, "before start")],
)
def test_what_cannot_be_simulated_is_refused_with_a_reason(scenario: str, onset: float, message: str) -> None:
    """An unknown scenario names the known ones."""
    with pytest.raises(ValueError, match=message):
        Simulation(scenario, 1, START, onset)


def test_the_truth_names_what_was_injected() -> None:
    """Aggressor, victim and GPUs where there is a change; nobody on a calm day."""
    truth = Simulation("starve", 1, START, START + 5).truth()
    assert (str(truth.aggressor), str(truth.victim)) == ("ml/batch-embed", "serving/llm-chat")
    assert len(truth.gpus) == 4
    assert truth.onset == START + 5
    calm = Simulation("calm", 1, START, START + 5).truth()
    assert (calm.aggressor, calm.victim, calm.gpus) == (None, None, ())
