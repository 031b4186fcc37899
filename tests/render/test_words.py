"""Values in words: clauses, and summaries of incidents."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_dashboard.analysis.baseline.signals import RESOURCE_SIGNALS, SIGNAL_BY_NAME
from foreshock_dashboard.analysis.root_cause.world_rows import (
    AVAILABILITY_SIGNALS,
    MODEL_SERVER_SIGNALS,
    UNIT_SUFFIXES,
)
from foreshock_dashboard.model.forecast import ServiceSlo
from foreshock_dashboard.model.incident import (
    AtRisk,
    Candidate,
    Cause,
    Evidence,
    Incident,
    Severity,
    Summary,
    SuspectedCause,
    Symptom,
    Xid,
)
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Gpu
from foreshock_dashboard.render.clause import Clause, joined, joined_text, minute, text, time
from foreshock_dashboard.render.incident_summary import (
    condition_clauses,
    details_sentences,
    headline,
    incident_sentence,
    summary_clauses,
    suspect_clauses,
)
from foreshock_dashboard.render.incident_text import risk_text
from foreshock_dashboard.render.units import (
    breach_bucket,
    breach_forecast,
    counted,
    duration,
    elapsed,
    name_list,
    percent,
    plural,
    rate,
    significant,
)
from foreshock_dashboard.render.words.signals import WORLD_METRICS
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
    seconds = {"ms": 0.001, "min": 60.0, "h": 3600.0}
    words = [*shown.split(" "), ""]
    return sum(float(value) * seconds.get(unit, 1.0) for value, unit in zip(words[::2], words[1::2], strict=False))


def test_one_is_singular() -> None:
    """Zero has the plural, and large counts have separators."""
    assert [counted(count, "GPU") for count in (0, 1, 1250)] == ["0 GPUs", "1 GPU", "1,250 GPUs"]
    assert [plural(count, "is", "are") for count in (1, 2)] == ["is", "are"]


def test_a_list_of_names_has_three_at_most() -> None:
    """The others are counted."""
    assert name_list("abc") == "a, b, c"
    assert name_list("abcde") == "a, b, c and 2 more"


@given(st.floats(0, 86_000))
def test_a_value_is_rounded_as_it_is_displayed(value: float) -> None:
    assert displayed(value, "s") == pytest.approx(number(duration(value)))
    assert displayed(value, "ratio") == pytest.approx(number(percent(value)))
    assert displayed(value, "") == pytest.approx(float(f"{value:.0f}"))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 s"),
        (59.4, "59 s"),
        (570, "9 min 30 s"),
        (599.6, "10 min"),
        (950, "16 min"),
        (3571, "1 h"),
        (7529, "2 h 5 min"),
        (86_390, "1 d"),
        (91_900, "1 d 2 h"),
    ],
)
def test_a_length_of_time_is_rounded_to_the_nearest_unit(seconds: float, words: str) -> None:
    """Beside its ends, `05:38:00 to 05:53:50`, a cut one would be wrong."""
    assert elapsed(seconds) == words


def test_a_latency_is_in_seconds_as_slos_are() -> None:
    """Two latencies of one table have one unit: `285 s` beside `594 s`, and not `9 min 54 s`."""
    assert [duration(seconds) for seconds in (0.085, 285, 594, 999, 1020)] == [
        "85 ms",
        "285 s",
        "594 s",
        "999 s",
        "17 min",
    ]


def test_words_between_services_become_one_clause() -> None:
    result = text("move ", BATCH, " off ", "", "host-1", text(" and ", LLM), ".")
    assert [clause.text for clause in result] == ["move ", "batch", " off host-1 and ", "llm", "."]
    assert [clause.services for clause in result if clause.kind] == [("batch",), ("llm",)]
    assert joined_text(joined((LLM, BATCH))) == "llm and batch"
    assert joined(()) == text("") == ()


def test_times_carry_their_unix_seconds() -> None:
    assert time(NOON) == Clause("12:00:00 UTC", "time", at=NOON)
    assert minute(NOON) == Clause("12:00 UTC", "minute", at=NOON)


DEGRADED = "llm is degraded: p95 1.50 s (baseline 500 ms)."
FIRST = "First anomaly: 12:00:00 UTC."
SUSPECTED = f"{DEGRADED} Suspected cause: degraded dependency batch (high confidence)."
MANY = tuple(Service("", f"s{i}") for i in range(5))


@pytest.mark.parametrize(
    ("result", "suspected"),
    [
        (incident("gpu_contention", SuspectedCause(BATCH, (GPU,))), "noisy neighbor batch on host-1/gpu-0"),
        (incident("gpu_contention", SuspectedCause(LLM)), "GPU contention"),
        (
            incident("gpu_contention", SuspectedCause(BATCH, (GPU,)), summary=Summary(requests="POST /embed")),
            "GPU contention: batch's POST /embed requests",
        ),
        (incident("overload", SuspectedCause(FRONT)), "overload; most of the extra load comes from front"),
        (incident("overload", SuspectedCause(LLM)), "overload"),
        (incident("scale_up_lag", SuspectedCause()), "scale-up lag: new replicas are not ready"),
        (incident("retry_storm", SuspectedCause(LLM, edge=(FRONT, LLM))), "retry storm from front"),
        (
            incident("network", SuspectedCause(LLM, edge=(FRONT, LLM))),
            "packet loss or high latency between front and llm",
        ),
        (incident("network", SuspectedCause(host="host-1")), "packet loss on host-1"),
        (incident("kv_cache_pressure", SuspectedCause(FRONT)), "longer requests from front fill the KV cache"),
        (incident("load_imbalance", SuspectedCause(LLM)), "load imbalance: one replica is overloaded or slow"),
        (incident("hardware", SuspectedCause(LLM, (GPU,))), "throttled or failing host-1/gpu-0"),
        (incident("hardware", SuspectedCause(LLM, host="host-1")), "hardware fault on host-1"),
        (incident("hardware", SuspectedCause(LLM)), "lost replicas"),
        (incident("dependency", SuspectedCause(BATCH)), "degraded dependency batch"),
        (incident("dependency", SuspectedCause(LLM)), "local fault, no external cause found"),
    ],
)
def test_every_cause_is_named_with_the_suspected_service(result: Incident, suspected: str) -> None:
    assert joined_text(suspect_clauses(result)) == suspected
    assert f"Suspected cause: {suspected} (high confidence)." in incident_sentence(result)


FATAL = Xid(79, "GPU has fallen off the bus", "fatal", "reboot the host")
PAGE_FAULT = Xid(31, "GPU memory page fault", "application", "restart the application")
CHANGED = Xid(154, "GPU Recovery Action Changed", "hardware", "see the other XID")


def xid_error(xid: Xid, gpu: str = GPU.label) -> Evidence:
    """One error of a GPU."""
    return Evidence(f"XID {xid.number} ({xid.name})", 1.0, 0.0, "", NOON, gpu, xid=xid)


@pytest.mark.parametrize(
    ("result", "named"),
    [
        (
            incident("hardware", SuspectedCause(LLM, (GPU,)), evidence=(xid_error(FATAL),)),
            "Suspected cause: failing host-1/gpu-0 with XID 79, GPU has fallen off the bus (high confidence). First",
        ),
        (
            incident("hardware", SuspectedCause(LLM, (GPU,)), evidence=(xid_error(FATAL),), summary=Summary(down=True)),
            "Suspected cause: lost or failing host-1/gpu-0 with XID 79, GPU has fallen off the bus (high confidence).",
        ),
        (
            incident("hardware", SuspectedCause(LLM, (GPU,)), evidence=(xid_error(FATAL, "host-2/gpu-0"),)),
            (
                "GPU error: XID 79, GPU has fallen off the bus, on host-2/gpu-0, 12:00:00 UTC; "
                "NVIDIA recommends that you reboot the host. First"
            ),
        ),
        (
            incident("dependency", SuspectedCause(LLM), evidence=(xid_error(PAGE_FAULT),)),
            (
                "GPU error: XID 31, GPU memory page fault, on host-1/gpu-0, 12:00:00 UTC; "
                "NVIDIA recommends that you restart the application. First"
            ),
        ),
        (
            incident("dependency", SuspectedCause(LLM), evidence=(xid_error(CHANGED),)),
            "GPU error: XID 154, GPU Recovery Action Changed, on host-1/gpu-0, 12:00:00 UTC. First",
        ),
        (
            incident("hardware", SuspectedCause(LLM, (GPU,)), evidence=(xid_error(FATAL),), confidence=0.3),
            "GPU error: XID 79, GPU has fallen off the bus, on host-1/gpu-0, 12:00:00 UTC",
        ),
    ],
)
def test_an_incident_names_the_xid_error_of_its_gpus(result: Incident, named: str) -> None:
    """In the suspected cause where that is the hardware; else as a GPU error, with what to do first."""
    assert named in incident_sentence(result)


SLOW, BREACH = Symptom("p95", 1.5, 0.5, 2.0), Symptom("p95", 27.4, 10.0, 16.4)
ERRORS = Symptom("error_rate", 0.25, 0.0, 0.016)
LOADED = Summary(Symptom("p95", 0.5, 0.5), 0.82, 0.55)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "llm is degraded: p95 1.50 s (baseline 500 ms)"),
        ({"summary": Summary(SLOW)}, "llm is degraded: p95 1.50 s (SLO 2.00 s)"),
        ({"summary": Summary(SLOW._replace(value=0.55))}, "llm is anomalous: p95 550 ms (SLO 2.00 s)"),
        ({"summary": Summary(BREACH)}, "llm is breaching its SLO: p95 27.4 s (SLO 16.4 s)"),
        (
            {"summary": Summary(BREACH._replace(operation="GET /home"))},
            "GET /home of llm is breaching its SLO: p95 27.4 s (SLO 16.4 s)",
        ),
        (
            {"summary": Summary(SLOW._replace(operation="GET /home"))},
            "llm is degraded: GET /home p95 1.50 s (operation SLO 2.00 s)",
        ),
        (
            {"summary": Summary(BREACH._replace(operation="GET /home")), "service": Service("eu//shop", "llm")},
            "GET /home of shop/llm in eu is breaching its SLO: p95 27.4 s (SLO 16.4 s)",
        ),
        ({"summary": Summary(ERRORS)}, "llm is breaching its SLO: error rate 25% (SLO 1.6%)"),
        ({"summary": Summary(ERRORS._replace(slo=math.nan))}, "llm is degraded: error rate 25% (baseline 0%)"),
        ({"summary": LOADED}, "llm is above its safe limit: load 82% (safe limit 55%)"),
        ({"summary": LOADED._replace(load=1.4)}, "llm is overloaded: load > 100% (safe limit 55%)"),
        ({"summary": LOADED._replace(load=0.5)}, "llm is anomalous: p95 500 ms (baseline 500 ms)"),
        ({"summary": Summary()}, "llm is anomalous"),
        ({"summary": Summary(SLOW), "stage": "early_warning"}, "llm is anomalous: p95 1.50 s (SLO 2.00 s)"),
        (
            {"summary": Summary(SLOW._replace(value=0.55)), "stage": "degraded"},
            "llm is degraded: p95 550 ms (SLO 2.00 s)",
        ),
        (
            {"cause": "retry_storm", "summary": Summary(latent=True)},
            "llm would not recover on its own from a short outage",
        ),
        ({"state": "recovering", "summary": Summary(SLOW)}, "llm is recovering: p95 1.50 s (SLO 2.00 s)"),
        (
            {"state": "recovering", "summary": Summary(SLOW._replace(value=SLOW.baseline))},
            "llm is recovering: p95 500 ms (SLO 2.00 s)",
        ),
        ({"state": "resolved"}, "llm has recovered from overload"),
        ({"state": "resolved", "cause": "gpu_contention"}, "llm has recovered from GPU contention"),
    ],
)
def test_a_headline_is_the_condition_of_the_service_and_its_metric(changes: dict[str, object], words: str) -> None:
    """At most twelve words, the service or its operation first."""
    result = replace(incident("overload", SuspectedCause(FRONT)), **changes)  # type: ignore[arg-type]  # fields
    assert headline(result) == words
    assert headline(result).startswith(joined_text(condition_clauses(result)))
    assert len(re.sub(r"GET /home( of (shop/)?llm( in eu)?)?", "name", words).split()) <= 12


def test_a_headline_has_the_forecast_of_its_service() -> None:
    warned = replace(incident("dependency", SuspectedCause(FRONT)), summary=Summary(SLOW))
    soon = replace(warned, at_risk=(AtRisk(LLM, 60.0, 120.0, 300.0),))
    assert headline(soon) == "llm is forecast to breach its SLO (median < 5 min)"
    assert headline(replace(soon, severity="warning")) == "llm may breach its SLO (median < 5 min)"
    assert incident_sentence(soon).startswith(f"{headline(soon)}. p95 1.50 s (SLO 2.00 s). ")
    assert headline(replace(warned, at_risk=(AtRisk(LLM, 60.0, 1200.0, 3000.0),))).startswith("llm is degraded: ")
    assert headline(replace(soon, summary=Summary(BREACH))).startswith("llm is breaching its SLO: ")


def test_the_headline_of_a_load_says_what_it_means_for_users() -> None:
    """When the SLO breach is forecast, or else how far from the SLO the service is; the details do not repeat it."""
    asked = incident("overload", SuspectedCause(FRONT), summary=LOADED._replace(symptom=SLOW))
    soon = replace(asked, at_risk=(AtRisk(LLM, 60.0, 120.0, 300.0),))
    load = "llm is above its safe limit: load 82% (safe limit 55%)"
    assert headline(soon) == f"{load}, SLO breach forecast: median < 5 min"
    assert incident_sentence(soon).count("SLO breach") == 1
    assert headline(asked) == f"{load}, p95 1.50 s (SLO 2.00 s)"


def test_a_caller_that_fails_entirely_leads_the_headline_of_a_breach() -> None:
    failing = incident("overload", SuspectedCause(FRONT), summary=Summary(BREACH, failing=FRONT))
    assert headline(failing) == (
        "front is failing 100% of requests now; llm is breaching its SLO: p95 27.4 s (SLO 16.4 s)"
    )
    assert headline(replace(failing, state="recovering")) == "llm is recovering: p95 27.4 s (SLO 16.4 s)"


def test_a_learned_slo_is_called_so() -> None:
    item = incident("dependency", SuspectedCause(BATCH), summary=Summary(BREACH))
    found = replace(item, slos=(ServiceSlo(LLM, 16.4, 0.01, learned=True),))
    assert headline(found) == "llm is breaching its SLO: p95 27.4 s (learned SLO 16.4 s)"
    assert "learned" not in headline(replace(item, slos=(ServiceSlo(LLM, 16.4, 0.01, learned=False),)))


def test_a_p95_beyond_the_slo_of_too_few_requests_is_no_breach() -> None:
    rare = incident("dependency", SuspectedCause(BATCH), summary=Summary(BREACH._replace(counts=False)))
    assert headline(rare) == "llm is degraded: p95 27.4 s (SLO 16.4 s, too few requests to count)"
    within = replace(rare, summary=Summary(BREACH._replace(value=15.0, counts=False)))
    assert headline(within) == "llm is degraded: p95 15.0 s (SLO 16.4 s)"


def test_a_latent_risk_has_no_suspect() -> None:
    """Nothing has happened yet."""
    latent = incident("retry_storm", SuspectedCause(LLM), "warning", affected=(), summary=Summary(latent=True))
    assert incident_sentence(latent) == (
        "If llm is down for a short time, it does not recover on its own: retries keep it overloaded."
    )
    rows = (
        Evidence("longest survivable outage", 31.9, 60.0, "s", 0.0, "llm"),
        Evidence("load with all retries", 2.71, 1.0, "ratio", 0.0, "llm"),
    )
    assert incident_sentence(replace(latent, evidence=rows)) == (
        "If llm is down for more than 31.9 s, it does not recover on its own: "
        "retries keep its load at 2.71x capacity. Goal: survive 60 s."
    )
    assert details_sentences(replace(latent, evidence=rows)) == (
        "Longest survivable outage: 31.9 s (target 60 s). Retries would hold its load at 271%."
    )


@pytest.mark.parametrize(
    ("changes", "summary"),
    [
        ({}, f"{SUSPECTED} {FIRST}"),
        ({"confidence": 0.6}, f"{DEGRADED} Suspected cause: degraded dependency batch (medium confidence). {FIRST}"),
        (
            {"confidence": 0.3, "candidates": (Candidate(BATCH, 0.5), Candidate(FRONT, 0.3), Candidate(LLM, 0.2))},
            f"{DEGRADED} Possible causes (low confidence): batch, front, llm. {FIRST}",
        ),
        (
            {"affected": (LLM, FRONT, GATEWAY), "at_risk": (AtRisk(GATEWAY, 60.0, 120.0, 300.0),)},
            f"{SUSPECTED} Affected: front. Next to breach: gateway (median < 5 min). {FIRST}",
        ),
        (
            {"affected": (LLM, *MANY), "at_risk": (AtRisk(LLM, 5.0, 20.0, 60.0),)},
            f"{SUSPECTED} Affected: s0, s1, s2 and 2 more. {FIRST}".replace(
                "is degraded: ", "is about to breach its SLO. "
            ),
        ),
        (
            {"affected": (), "at_risk": (AtRisk(LLM, 5.0, 1000.0, 6000.0),)},
            SUSPECTED,
        ),
    ],
)
def test_a_summary_has_one_fact_in_each_sentence(changes: dict[str, object], summary: str) -> None:
    """At low confidence the candidates follow the symptom; without an affected service nothing has begun."""
    result = replace(incident("dependency", SuspectedCause(BATCH)), **changes)  # type: ignore[arg-type]  # fields
    assert incident_sentence(result) == summary
    assert {"llm", "batch"} <= {name for clause in summary_clauses(result) for name in clause.services}
    assert not any(math.isnan(clause.at) for clause in summary_clauses(result) if clause.at is not None)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0, "imminent"), (59.9, "imminent"), (60.0, "median < 5 min"), (300.0, "median < 15 min"),
     (900.0, "median < 30 min"),
     (1800.0, "median > 30 min"), (math.inf, "median > 30 min")],
)  # fmt: skip
def test_a_forecast_is_shown_as_a_bucket(seconds: float, shown: str) -> None:
    assert breach_bucket(seconds) == shown


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (4.0, 190.0, "10 s to 3 min"),
        (120.0, 540.0, "2 to 9 min"),
        (5.0, 9.0, "about 10 s"),
        (95.0, math.inf, "2 min to > 30 min"),
    ],
)
def test_a_bucket_stands_beside_the_interval_that_it_is_the_median_of(low: float, high: float, words: str) -> None:
    """Rounded; beyond the horizon the interval has no end, which contradicts no median."""
    assert breach_forecast(low, 100.0, high) == f"median < 5 min, 80% interval: {words}"


@pytest.mark.parametrize(
    ("p10", "p50", "p90", "words"),
    [
        (10.0, 50.0, 190.0, "imminent, 80% interval: 10 s to 3 min"),
        (95.0, 600.0, None, "median < 15 min, 80% interval: 2 min to > 30 min"),
        (None, 120.0, None, "median < 5 min"),
        (None, None, None, "median > 30 min"),
    ],
)
def test_without_an_interval_a_risk_has_the_bucket_of_its_median(
    p10: float | None, p50: float | None, p90: float | None, words: str
) -> None:
    seconds = {"p10": p10, "p50": p50, "p90": p90}
    assert risk_text({"service": "shop/cart", "breach_seconds": seconds}) == f"shop/cart ({words})"


def test_a_value_is_rounded_once_as_pages_round_that_of_the_json() -> None:
    """JSON has six digits: a single precision above 11.35 is 11.35 there, whose nearest number is below it."""
    assert rate(11.350000381) == "11.3 req/s"
    assert duration(14.450000763) == "14.4 s"
    assert percent(0.0105000003) == "1.1%"


def test_a_rate_has_three_significant_digits() -> None:
    """Without trailing zeros and without an exponent."""
    assert [rate(value) for value in (14.0, 14.62, 0.123, 250.4)] == [
        "14 req/s",
        "14.6 req/s",
        "0.123 req/s",
        "250 req/s",
    ]
    assert significant(12_345.6) == "12,346"


@pytest.mark.parametrize("name", [*RESOURCE_SIGNALS, *AVAILABILITY_SIGNALS, *MODEL_SERVER_SIGNALS])
def test_each_signal_of_a_root_cause_has_a_name_in_words(name: str) -> None:
    """A postmortem says `ready replicas (share of desired)`, and no identifier of the program."""
    assert WORLD_METRICS[name + UNIT_SUFFIXES.get(SIGNAL_BY_NAME[name].unit, "")]
