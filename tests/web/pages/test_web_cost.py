"""Cost in the API and on its page: who holds GPU time, what it costs, and which GPUs are unused."""

from __future__ import annotations

import csv
import io

import pytest
from tests.analysis.cost.usages import holder, usage
from tests.web.conftest import client
from tests.web.costs import CHAT, LEDGER, PRICES
from tests.web.worlds import NOW, SCENES, FakeHub

from foreshock_dashboard.analysis.cost.account import account
from foreshock_dashboard.model.cost.ledger import CostLedger
from foreshock_dashboard.model.cost.prices import NO_PRICES, Price, Prices
from foreshock_dashboard.model.service import Ownership
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.replay.cost_history import with_gpu_wait
from foreshock_dashboard.web.pages.cost.cost_json import CostRowJson
from foreshock_dashboard.web.pages.cost.data import idle_rows


def hub(ledger: CostLedger = LEDGER, prices: Prices = PRICES) -> FakeHub:
    """Two services, a free GPU, and one of unknown use, for two days."""
    return FakeHub(SCENES["healthy"](), cost=ledger, prices=prices, owners={CHAT: Ownership("team-chat")})


def get(path: str = "/api/cost", of: FakeHub | None = None) -> Json:
    """An answer."""
    body: Json = client(of or hub()).get(path).json()
    return body


PARTS = ("busy", "waiting", "idle", "unallocated", "unknown")


def test_rows_are_by_service_and_pool_and_sum_to_the_total() -> None:
    """Each is the sum of its parts. Unallocated GPUs and those of unknown use are lines of their own."""
    body = get()
    rows = {(row["name"] or row["holding"], row["pool"]): row for row in body["rows"]}

    assert {key: [row[f"{part}_gpu_hours"] for part in PARTS] for key, row in rows.items()} == {
        ("ml/chat", "chat"): [12, 2.4, 9.6, 0, 0],
        ("ml/notebook", "dev"): [0, 0, 24, 0, 0],
        ("unallocated", "spare"): [None, None, None, 24, 0],
        ("unknown", "spare"): [None, None, None, 0, 24],
    }
    for row in (*body["rows"], body["total"]):
        assert sum(row[f"{part}_gpu_hours"] or 0 for part in PARTS) == pytest.approx(row["gpu_hours"])
    assert sum(row["gpu_hours"] for row in body["rows"]) == body["total"]["gpu_hours"] == 96
    assert [rows[key]["owner"] for key in (("ml/chat", "chat"), ("ml/notebook", "dev"))] == ["team-chat", ""]
    assert (body["total"]["cost"], rows["ml/notebook", "dev"]["idle_cost"], body["hours"]) == (192, 48, 24)


def test_time_on_a_neighbors_part_is_borrowed() -> None:
    """What a service is busy beyond its half of a shared GPU is no part of what it holds."""
    hour = account(usage(1, [holder("chat"), holder("batch")], [0.7, 0.1]))
    rows = {row["name"]: row for row in get(of=hub(CostLedger(NOW, NOW, {NOW - 3600: hour})))["rows"]}

    assert (rows["ml/chat"]["busy_gpu_hours"], rows["ml/chat"]["borrowed_gpu_hours"]) == pytest.approx((0.5, 0.2))
    assert sum(row["gpu_hours"] for row in rows.values()) == 1


def test_a_service_that_is_busy_beyond_its_part_shows_its_waiting_beside_it() -> None:
    """As an upper bound. GPU-hours add up without it: all of its part was busy."""
    used = usage(1, [holder("chat"), holder("batch")], [0.8, 0.2], waiting=[0.2, 0.6])
    hour = with_gpu_wait(account(used), used)
    rows = {row["name"]: row for row in get(of=hub(CostLedger(NOW, NOW, {NOW - 3600: hour})))["rows"]}

    figures = ("busy", "waiting", "idle", "borrowed", "gpu_wait")
    assert {name: [row[f"{figure}_gpu_hours"] for figure in figures] for name, row in rows.items()} == {
        "ml/chat": pytest.approx([0.5, 0, 0, 0.3, 0.2]),
        "ml/batch": pytest.approx([0.2, 0.3, 0, 0, 0.6]),
    }


def test_the_answer_says_what_is_unused_and_what_to_do() -> None:
    """In sentences, with the command where it is safe."""
    body = get()

    assert (body["state"], body["summary"]) == (
        "warning",
        "Releasing 1 unused GPU would save USD 48.00 per day (25% of GPU cost).",
    )
    assert body["split"].startswith("96 GPU-hours in 24 h: 12% busy, 2.5% lost to neighbors, 35% idle, 25% unallocated")
    assert body["split"].endswith(", 25% unknown.")
    assert body["idle"] == ("70% of GPU time idle (1.4 of 2 GPUs): 1 unused, the rest idle between kernels.")
    assert [(item["text"], item["on"], item["action"], item["command"]) for item in body["unused"]] == [
        (
            "ml/notebook holds 1 unused GPU: no kernel has run for 2 d.",
            ["host-1/gpu-1"],
            "Scale it to 0 replicas until it is needed.",
            "kubectl -n ml get deployment/notebook && kubectl -n ml scale deployment/notebook --replicas=0",
        )
    ]


def test_what_is_not_known_to_be_safe_is_a_question_to_the_owner() -> None:
    """Without a command; before a day there is no saving, but what it has cost so far."""
    hour = account(usage(1, [holder("chat", process=False)], [float("nan")]))
    ledger = CostLedger(NOW, NOW, {NOW - (i + 1) * 3600: hour for i in range(2)})
    body = get(of=hub(ledger))
    (item,) = body["unused"]

    assert (item["action"], item["command"]) == ("Ask team-chat whether it is needed.", None)
    assert (item["seconds"], item["at_least"]) == (7200, True)  # it may be idle since before the data begins
    assert (item["gpu_hours"], item["cost"], item["gpu_hours_per_day"], item["cost_per_day"]) == (2, 4, None, None)
    assert (body["state"], body["summary"]) == (
        "info",
        "100% of GPU time idle (1 of 1 GPU); 1 GPU unused for 30 min or longer.",
    )
    assert body["notes"] == ["Data covers 2 h of 24 h (whole 10 min steps only)."]

    earlier = get(f"/api/cost?at={NOW - 3600:.0f}", of=hub(ledger))["unused"]
    assert [(item["seconds"], item["at_least"]) for item in earlier] == [(3600, True)], "of the data until then"


def test_the_services_with_the_most_time_idle_between_kernels_are_listed_too() -> None:
    """Not the unused part of it, which has other rows, nor services that are busy most of the time."""
    body = get()
    (row,) = idle_rows([CostRowJson(**row) for row in body["rows"]])
    assert row.service == "ml/chat"
    assert [row.gpus, row.idle_ratio, row.gpu_hours, row.cost] == pytest.approx([0.4, 0.4, 9.6, 19.2])


def test_idle_gpus_of_a_short_time_are_not_rounded() -> None:
    """A holder of a GPU is never idle with more or fewer than it."""
    hours = 10 / 3600
    short: Json = {"gpus": 1.0, "gpu_hours": hours, "idle_gpu_hours": hours, "unused_gpu_hours": 0.0, "idle_cost": None}
    named: Json = {"name": "ml/new", "holding": "service", "pool": "dev", "priced_ratio": 0.5}
    row = CostRowJson(**{**get()["rows"][0], **short, **named})
    (found,) = idle_rows([row])
    assert (found.gpus, found.idle_ratio, found.pool, found.priced_ratio) == (1.0, 1.0, "dev", 0.5)


def test_unknown_use_is_not_called_idle() -> None:
    """Where no exporter shows processes."""
    hour = account(usage(1, [holder("chat")], [float("nan")], utilization=[float("nan")], processes=False))
    body = get(of=hub(CostLedger(NOW, NOW, {NOW - 3600: hour})))

    assert (body["state"], body["summary"]) == ("unknown", "Use is unknown for 1 GPU-hour.")
    assert (body["idle"], body["unused"], body["total"]["unknown_gpu_hours"]) == ("", [], 1)


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("namespace", {"ml": 48.0, "unallocated": 24.0, "unknown": 24.0}),
        ("owner", {"team-chat": 24.0, "service": 24.0, "unallocated": 24.0, "unknown": 24.0}),
        ("pool", {"chat": 24.0, "dev": 24.0, "spare": 48.0}),
    ],
)
def test_rows_can_be_grouped(by: str, names: dict[str, float]) -> None:
    """The sum stays."""
    rows = get(f"/api/cost?by={by}")["rows"]
    assert {row["name"] or row["holding"]: row["gpu_hours"] for row in rows} == names


def test_longer_and_earlier_time_ranges() -> None:
    """As far as there is data, of which a note says how much that is."""
    week = get("/api/cost?range=7d")
    assert (week["hours"], week["notes"]) == (48, ["Data covers 2 d of 7 d (whole 10 min steps only)."])
    assert get(f"/api/cost?range=6h&at={NOW - 86_400:.0f}")["end"] == NOW - 86_400


@pytest.mark.parametrize(
    ("query", "problem"),
    [("range=5m", "range='5m'"), ("range=90d", "1h to 30d"), ("by=color", "by='color'"), ("range=x", "range='x'")],
)
def test_other_parameters_are_refused(query: str, problem: str) -> None:
    """With the remedy."""
    answer = client(hub()).get(f"/api/cost?{query}")
    assert answer.status_code == 400
    assert problem in answer.json()["error"]


@pytest.mark.parametrize(
    ("ledger", "reason"),
    [
        (CostLedger(), "No cost data yet: GPU time is still being read."),
        (CostLedger(error="the source cannot be reached"), "No cost data: the source cannot be reached"),
        (CostLedger(NOW, NOW), "No GPUs in this time range. Scrape foreshock-exporter on GPU hosts."),
    ],
)
def test_without_gpu_time_the_answer_says_why(ledger: CostLedger, reason: str) -> None:
    """No zero in place of unknown."""
    body, page = get(of=hub(ledger)), get("/api/pages/cost", hub(ledger))

    assert (body["reason"], body["rows"], body["total"]) == (reason, [], None)
    assert (page["ready"], page["reason"]) == (True, reason)


def test_without_prices_there_is_no_money() -> None:
    """GPU-hours remain; missing prices are named."""
    unpriced, other = get(of=hub(prices=NO_PRICES)), get(of=hub(prices=Prices("EUR", {"A100": Price(1.0)})))

    assert unpriced["summary"] == "Releasing 1 unused GPU would save 24 GPU-hours per day (25% of all)."
    assert (unpriced["total"]["cost"], unpriced["total"]["priced_ratio"]) == (None, 0)
    assert unpriced["notes"] == ["To show costs, set --prices to a file with GPU-hour prices."]
    assert other["notes"] == ["No price for GPUs: NVIDIA H100 80GB HBM3. Add one to the --prices file."]


def test_costs_are_of_the_part_with_a_price() -> None:
    """Its share says how much that is. Spot capacity needs a spot price, which a note names."""
    prices = Prices("USD", {"H100": Price(2.0)}, {"dev": Price(spot=True)})
    body = get(of=hub(prices=prices))

    assert (body["total"]["cost"], body["total"]["priced_ratio"]) == (144, 0.75)
    assert body["notes"] == ["No spot price for GPUs: NVIDIA H100 80GB HBM3. Add one to the --prices file."]
    assert body["summary"] == "Releasing 1 unused GPU would save 24 GPU-hours per day (25% of all)."


def test_the_page_and_csv_have_the_same_figures() -> None:
    """One source of values."""
    body, page = get(), get("/api/pages/cost")
    rows = list(csv.DictReader(io.StringIO(client(hub()).get("/api/csv/cost").text)))

    assert (page["rows"], page["unused"], page["total"]) == (body["rows"], body["unused"], body["total"])
    assert [float(row["gpu_hours"]) for row in rows] == [row["gpu_hours"] for row in body["rows"]]
