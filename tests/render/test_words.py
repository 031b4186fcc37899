"""Values in words: clauses, and summaries of incidents."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_dashboard.model.incident import AtRisk, Cause, Incident, Severity, Summary, SuspectedCause, Symptom
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Gpu
from foreshock_dashboard.render.clause import Clause, joined, joined_text, minute, text, time
from foreshock_dashboard.render.incident_summary import incident_sentence, summary_clauses
from foreshock_dashboard.render.units import (
    breach_bucket,
    breach_interval,
    counted,
    duration,
    name_list,
    percent,
    plural,
    rate,
    significant,
)
from foreshock_dashboard.stats.rounding import displayed

LLM, BATCH, FRONT, GATEWAY = (Service("", name) for name in ("llm", "batch", "front", "gateway"))
GPU = Gpu("host-1", "0", "a")
NOON = 1_800_014_400.0


def incident(cause: Cause, suspect: SuspectedCause, severity: Severity = "critical", **fields: object) -> Incident:
    """An incident of the language model that began at noon, with a p95 of 1.5 s."""
    base = Incident(
        id="1", severity=severity, state="firing", cause=cause, service=LLM,
        suspect=suspect, affected=(LLM,), at_risk=(), candidates=(), since=NOON, opened=NOON, paged=NOON,
        resolved=None, evidence=(), confidence=0.9, quality="sampled",
        summary=Summary(Symptom("p95", 1.5, 0.5)),
    )  # fmt: skip
    return replace(base, **fields)  # type: ignore[arg-type]  # the callers name fields


def number(shown: str) -> float:
    """The number in a text with its unit."""
    if shown.endswith("%"):
        return float(shown.removeprefix("<").removesuffix("%")) * 0.01
    value, _, unit = shown.partition(" ")
    return float(value) * {"ms": 0.001}.get(unit, 1.0)


def test_one_is_singular() -> None:
    """Zero has the plural, and large counts have separators."""
    assert [counted(count, "GPU") for count in (0, 1, 1250)] == ["0 GPUs", "1 GPU", "1,250 GPUs"]
    assert [plural(count, "is", "are") for count in (1, 2)] == ["is", "are"]


def test_a_list_of_names_has_three_at_most() -> None:
    """The others are counted."""
    assert name_list("abc") == "a, b, c"
    assert name_list("abcde") == "a, b, c and 2 more"


@given(st.floats(0, 1e5))
def test_a_value_is_rounded_as_it_is_displayed(value: float) -> None:
    assert displayed(value, "s") == pytest.approx(number(duration(value)))
    assert displayed(value, "ratio") == pytest.approx(number(percent(value)))
    assert displayed(value, "") == pytest.approx(float(f"{value:.0f}"))


def test_words_between_services_become_one_clause() -> None:
    result = text("move ", BATCH, " off ", "", "host-1", text(" and ", LLM), ".")
    assert [clause.text for clause in result] == ["move ", "batch", " off host-1 and ", "llm", "."]
    assert [clause.services for clause in result if clause.kind] == [("batch",), ("llm",)]
    assert joined_text(joined((LLM, BATCH))) == "llm and batch"
    assert joined(()) == text("") == ()


def test_times_carry_their_unix_seconds() -> None:
    assert time(NOON) == Clause("12:00:00 UTC", "time", at=NOON)
    assert minute(NOON) == Clause("12:00 UTC", "minute", at=NOON)


SINCE = "since 12:00:00 UTC; p95 of llm 1.50 s, usually 500 ms."


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        (incident("gpu_contention", SuspectedCause(BATCH, (GPU,))), f"batch starves llm on host-1/gpu-0 {SINCE}"),
        (
            incident("gpu_contention", SuspectedCause(BATCH, (GPU,)), confidence=0.4),
            f"batch may starve llm on host-1/gpu-0 {SINCE}",
        ),
        (incident("gpu_contention", SuspectedCause(LLM)), f"llm fights for its GPUs {SINCE}"),
        (
            incident("gpu_contention", SuspectedCause(BATCH, (GPU,)), summary=Summary(requests="")),
            "what batch asks makes other requests to llm wait since 12:00:00 UTC.",
        ),
        (
            incident("overload", SuspectedCause(FRONT)),
            f"llm is asked for more than it carries, most of it through front {SINCE}",
        ),
        (
            incident("overload", SuspectedCause(LLM), at_risk=(AtRisk(LLM, 60.0, 120.0, 300.0),)),
            f"llm will soon be asked for more than it carries {SINCE[:-1]}; next llm in about 2 min.",
        ),
        (
            incident("scale_up_lag", SuspectedCause()),
            f"llm is asked for more than its replicas carry, and new ones are late {SINCE}",
        ),
        (incident("retry_storm", SuspectedCause(LLM, edge=(FRONT, LLM))), f"Retries of front keep llm down {SINCE}"),
        (
            incident("retry_storm", SuspectedCause(LLM), "warning", affected=(), summary=Summary(latent=True)),
            "A short loss of capacity would take llm down for good by retries.",
        ),
        (
            incident("network", SuspectedCause(LLM, edge=(FRONT, LLM))),
            f"Packets between front and llm are lost or late {SINCE}",
        ),
        (incident("network", SuspectedCause(host="host-1")), f"The network of host-1 loses packets {SINCE}"),
        (
            incident("kv_cache_pressure", SuspectedCause(FRONT)),
            f"Longer requests of front fill the KV cache of llm {SINCE}",
        ),
        (
            incident("load_imbalance", SuspectedCause(LLM)),
            f"One replica of llm has more to do or is slower than the others {SINCE}",
        ),
        (incident("hardware", SuspectedCause(LLM, (GPU,))), f"host-1/gpu-0 is held back or failing {SINCE}"),
        (incident("hardware", SuspectedCause(LLM, host="host-1")), f"Hardware of llm is held back or failing {SINCE}"),
        (incident("hardware", SuspectedCause(LLM)), f"Replicas of llm are lost {SINCE}"),
        (incident("dependency", SuspectedCause(BATCH)), f"batch is slow or failing {SINCE}"),
        (
            incident("dependency", SuspectedCause(LLM), state="recovering", summary=Summary(Symptom("failed", 0.25))),
            "llm is slow or failing since 12:00:00 UTC; it calms down: 25% of requests to llm fail.",
        ),
        (
            incident("dependency", SuspectedCause(LLM), affected=(LLM, FRONT, GATEWAY)),
            f"llm is slow or failing {SINCE[:-1]}; front and gateway are worse than usual too.",
        ),
        (
            incident("dependency", SuspectedCause(LLM), affected=(LLM, *(Service("", f"s{i}") for i in range(5)))),
            f"llm is slow or failing {SINCE[:-1]}; s0, s1, s2 and 2 more are worse than usual too.",
        ),
    ],
)
def test_an_incident_is_one_sentence(result: Incident, sentence: str) -> None:
    assert incident_sentence(result) == sentence
    named = {name for clause in summary_clauses(result) for name in clause.services}
    assert "llm" in named or "gpu" in sentence or "batch" in named
    assert not any(math.isnan(clause.at) for clause in summary_clauses(result) if clause.at is not None)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0, "imminent"), (59.9, "imminent"), (60.0, "< 5 min"), (300.0, "< 15 min"), (900.0, "< 30 min"),
     (1800.0, "> 30 min"), (math.inf, "> 30 min")],
)  # fmt: skip
def test_a_forecast_is_shown_as_a_bucket(seconds: float, shown: str) -> None:
    assert breach_bucket(seconds) == shown


def test_the_interval_of_a_forecast_is_rounded() -> None:
    """Beyond the horizon it has no end."""
    assert breach_interval(4.0, 190.0) == "80% interval: 10 s to 3 min"
    assert breach_interval(95.0, math.inf) == "80% interval: 2 min to > 30 min"


def test_a_rate_has_three_significant_digits() -> None:
    """Without trailing zeros and without an exponent."""
    assert [rate(value) for value in (14.0, 14.62, 0.123, 250.4)] == [
        "14 req/s",
        "14.6 req/s",
        "0.123 req/s",
        "250 req/s",
    ]
    assert significant(12_345.6) == "12,346"
